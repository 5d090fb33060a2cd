import { subscriptionExchange } from "@urql/core";

import { socketTo } from "./socket.mjs";
import { openUrql } from "./urql.mjs";

export function open(at) {
  const socket = socketTo(at);
  const forwardSubscription = ({ query, variables }) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
  });
  return openUrql(at, { exchanges: [subscriptionExchange({ forwardSubscription })] });
}
