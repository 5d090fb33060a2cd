import { setTimeout as pause } from "node:timers/promises";

import { createClient } from "graphql-ws";
import WebSocket from "ws";

// Node before 22 has none. Apollo's link looks at it too, to tell one error from another.
globalThis.WebSocket ??= WebSocket;

/** The websocket that Apollo, urql and Relay share: `connectionParams` is asked at each connection. */
export const socketTo = ({ url, authorization, onClosed }) =>
  createClient({
    url: url.replace(/^http/, "ws"),
    connectionParams: async () => ({ Authorization: await authorization() }),
    retryWait: () => pause(100), // 1.3 to 4 s the first time where left out
    on: { closed: onClosed },
  });
