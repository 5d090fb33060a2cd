// What the scenario asks, as text: each adapter parses it as its client wants it.
export const VIEWER = "query Viewer { viewer { id } }";
export const CREATE = "mutation Create { createSandbox(input: { start: true }) { sandbox { id } } }";
export const DELETE = `
  mutation Delete($id: ID!) { deleteSandbox(input: { sandboxId: $id }) { deletedSandboxId } }
`;
export const UPLOAD = `
  mutation Upload($input: UploadFileInput!) { uploadFile(input: $input) { file { path } } }
`;
export const RECORD = "query Record($id: ID!) { execution(id: $id) { status stdout lastSeq } }";
export const COUNT = `
  query Count($id: ID!) { sandbox(id: $id) { executions { totalCount } file(path: "runs") { content } } }
`;
export const EXECUTE = `
  subscription Execute($input: ExecuteCodeInput!) {
    executeCode(input: $input) {
      __typename
      executionId
      seq
      ... on OutputChunk { text }
      ... on ExecutionFinished { status }
    }
  }
`;
