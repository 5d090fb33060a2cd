const CODE = `import time
for i in range(3):
    print("tick", i, flush=True)
    time.sleep(1)
6 * 7`;

const VIEWER = `# Ctrl-Enter runs it. The other tabs make a sandbox, and run code in it.
query Viewer {
  viewer {
    id
    usage { sandboxes runningSandboxes }
  }
  sandboxes(first: 5) {
    nodes { id name status }
    totalCount
  }
}
`;
const NEEDS_TOKEN = `# Put a token into the headers below, then Shift-Ctrl-R reads the schema.
#
#   { "Authorization": "Bearer ..." }
#
# The websocket sends the same headers, so that subscriptions work too.
`;
const CREATE = `mutation CreateSandbox {
  createSandbox(input: { name: "graphiql", start: true }) {
    sandbox { id name status }
  }
}
`;
const EXECUTE = `# Needs a sandbox's id in the variables below.
subscription ExecuteCode($input: ExecuteCodeInput!) {
  executeCode(input: $input) {
    __typename
    seq
    ... on OutputChunk { stream text }
    ... on DisplayOutput { data { isResult text } }
    ... on ExecutionErrored { error { name value traceback } }
    ... on ExecutionFinished { status exitCode durationMs }
  }
}
`;
const INPUT = JSON.stringify({ input: { sandboxId: '', code: CODE } }, null, 2);

/** The tabs that a browser begins with which has none of its own yet. */
export const exampleTabs = (hasToken) => [
  { query: hasToken ? VIEWER : NEEDS_TOKEN + VIEWER },
  { query: CREATE },
  { query: EXECUTE, variables: INPUT },
];
