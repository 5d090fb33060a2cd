import { Client, fetchExchange } from "@urql/core";
import { onEnd, pipe, subscribe as listen } from "wonka";

import { coded } from "./errors.mjs";

const shown = (fault) => coded(fault, fault.graphQLErrors);

/** urql with what its subscriptions take. */
export function openUrql({ url, authorization }, { exchanges = [], ...options }) {
  const client = new Client({
    url,
    preferGetMethod: false,
    requestPolicy: "network-only",
    exchanges: [...exchanges, fetchExchange],
    fetch: async (address, { headers, ...rest }) =>
      fetch(address, { ...rest, headers: { ...headers, authorization: await authorization() } }),
    ...options,
  });

  async function answer(asked) {
    const { data, error } = await asked.toPromise();
    if (error) throw shown(error);
    return data;
  }

  return {
    query: (text, variables) => answer(client.query(text, variables)),
    mutate: (text, variables) => answer(client.mutation(text, variables)),
    subscribe(text, variables, { next, error, complete }) {
      const { unsubscribe } = pipe(
        client.subscription(text, variables),
        onEnd(complete),
        listen(({ data, error: fault }) => (fault ? error(shown(fault)) : next(data))),
      );
      return unsubscribe;
    },
    close: () => {},
  };
}
