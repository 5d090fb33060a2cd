// A sandbox, some code, its output as it comes: `URL=... TOKEN=... npm start`.
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // browsers have one, and Node from 22 on

const url = process.env.URL ?? "http://127.0.0.1:8000/graphql";
if (!process.env.TOKEN) {
  console.error("TOKEN is missing: export TOKEN=$(make -s token)");
  process.exit(1);
}
const Authorization = `Bearer ${process.env.TOKEN}`;

const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(
      createClient({
        url: url.replace(/^http/, "ws"),
        connectionParams: { Authorization },
      }),
    ),
    new HttpLink({ uri: url, headers: { Authorization } }),
  ),
});

const CREATE = gql`
  mutation { createSandbox(input: { start: true }) { sandbox { id } } }
`;
const RUN = gql`
  subscription ($input: ExecuteCodeInput!) {
    executeCode(input: $input) {
      __typename
      seq
      ... on OutputChunk { stream text }
      ... on DisplayOutput { data { isResult text } }
      ... on ExecutionErrored { error { traceback } }
      ... on ExecutionFinished { status }
    }
  }
`;
const DELETE = gql`
  mutation ($id: ID!) { deleteSandbox(input: { sandboxId: $id }) { deletedSandboxId } }
`;

const { data } = await client.mutate({ mutation: CREATE });
const sandboxId = data.createSandbox.sandbox.id;
try {
  // Sent again after a lost socket, the same id attaches instead of running the code twice.
  const clientExecutionId = crypto.randomUUID();
  const code = "for word in ['live', 'output']: print(word, flush=True)\n6 * 7";
  await new Promise((resolve, reject) => {
    client
      .subscribe({ query: RUN, variables: { input: { sandboxId, code, clientExecutionId } } })
      .subscribe({
        next: ({ data, error }) => (error ? reject(error) : console.log(JSON.stringify(data.executeCode))),
        error: reject,
        complete: resolve,
      });
  });
} finally {
  await client.mutate({ mutation: DELETE, variables: { id: sandboxId } });
  client.stop();
}
process.exit(0);
