import relay from "relay-runtime";

import { coded, dataOf } from "./errors.mjs";
import { socketTo } from "./socket.mjs";

const { Network, Observable } = relay;

export function open(at) {
  const socket = socketTo(at);
  const network = Network.create(
    async ({ text: query }, variables) => {
      const headers = { "Content-Type": "application/json", Authorization: await at.authorization() };
      const response = await fetch(at.url, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
      return response.json();
    },
    ({ text: query }, variables) =>
      Observable.create((sink) => socket.subscribe({ query, variables }, sink)),
  );

  // As relay-compiler writes it.
  const request = (operationKind, text) => ({ operationKind, text, id: null, cacheID: text, name: operationKind, metadata: {} });
  const run = (kind, text, variables) => network.execute(request(kind, text), variables, { force: true });
  const once = (kind) => async (text, variables) => dataOf(await run(kind, text, variables).toPromise());

  return {
    query: once("query"),
    mutate: once("mutation"),
    subscribe(text, variables, { next, error, complete }) {
      const following = run("subscription", text, variables).subscribe({
        next: ({ data, errors }) => (errors ? error(coded(errors, errors)) : next(data)),
        error: (fault) => error(coded(fault, Array.isArray(fault) ? fault : undefined)),
        complete,
      });
      return () => following.unsubscribe();
    },
    close: () => socket.dispose(),
  };
}
