import { setTimeout as pause } from "node:timers/promises";

import { createClient } from "graphql-sse";

import { coded } from "./errors.mjs";

export function open({ url, authorization }) {
  const client = createClient({
    url,
    headers: async () => ({ Authorization: await authorization() }),
    retry: () => pause(100),
  });

  function subscribe(query, variables, { next, error, complete }) {
    return client.subscribe({ query, variables }, {
      next: ({ data, errors }) => (errors ? error(coded(errors, errors)) : next(data)),
      error: (fault) => error(coded(fault)),
      complete,
    });
  }

  const once = (query, variables) =>
    new Promise((resolve, reject) => {
      let answer;
      subscribe(query, variables, {
        next: (data) => (answer = data),
        error: reject,
        complete: () => resolve(answer),
      });
    });

  // It subscribes again by itself and tells nobody that the connection was lost.
  return { query: once, mutate: once, subscribe, close: () => client.dispose(), silent: true };
}
