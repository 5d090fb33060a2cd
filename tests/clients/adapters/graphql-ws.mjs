import { coded } from "./errors.mjs";
import { socketTo } from "./socket.mjs";

export function open(at) {
  const client = socketTo(at);

  function subscribe(query, variables, { next, error, complete }) {
    return client.subscribe({ query, variables }, {
      next: ({ data, errors }) => (errors ? error(coded(errors, errors)) : next(data)),
      error: (fault) => error(coded(fault, Array.isArray(fault) ? fault : undefined)),
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

  return { query: once, mutate: once, subscribe, close: () => client.dispose() };
}
