// A sandbox, some code, its output as it comes, by HTTP alone: `URL=... TOKEN=... npm start`.
import { Client, fetchExchange, gql } from "@urql/core";

const url = process.env.URL ?? "http://127.0.0.1:8000/graphql";
if (!process.env.TOKEN) {
  console.error("TOKEN is missing: export TOKEN=$(make -s token)");
  process.exit(1);
}

const client = new Client({
  url,
  exchanges: [fetchExchange],
  fetchSubscriptions: true, // server-sent events: no websocket is needed
  fetchOptions: () => ({ headers: { authorization: `Bearer ${process.env.TOKEN}` } }),
});

const CREATE = gql`
  mutation { createSandbox(input: { start: true }) { sandbox { id } } }
`;
const RUN = gql`
  subscription ($input: ExecuteCodeInput!) {
    executeCode(input: $input) {
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

async function mutate(document, variables) {
  const { data, error } = await client.mutation(document, variables).toPromise();
  if (error) throw error;
  return data;
}

function run(input, onEvent) {
  return new Promise((resolve, reject) => {
    let after = 0;
    client.subscription(RUN, { input }).subscribe(({ data, error }) => {
      if (error) return reject(error);
      const event = data.executeCode;
      if (event.seq <= after) return; // urql shows a stream's last result twice
      after = event.seq;
      onEvent(event);
      if (event.status) resolve(event);
    });
  });
}

const { createSandbox } = await mutate(CREATE, {});
const sandboxId = createSandbox.sandbox.id;
try {
  // Sent again after a lost connection, the same id attaches instead of running the code twice.
  const clientExecutionId = crypto.randomUUID();
  const code = "for word in ['live', 'output']: print(word, flush=True)\n6 * 7";
  await run({ sandboxId, code, clientExecutionId }, (event) => console.log(JSON.stringify(event)));
} finally {
  await mutate(DELETE, { id: sandboxId });
}
