// `node run.mjs apollo-4-websocket`: takes one client through the scenario.
import { Tokens } from "./desk.mjs";
import { play } from "./scenario.mjs";

const tokens = new Tokens();
const closes = [];
const { open } = await import(`./adapters/${process.argv[2]}.mjs`);
const client = open({
  url: process.env.URL,
  authorization: async () => `Bearer ${await tokens.get()}`,
  onClosed: (event) => closes.push(event.code),
});
await play(client, tokens, closes, (step, seen) => console.log(JSON.stringify({ step, ...seen })));
process.exit(0);
