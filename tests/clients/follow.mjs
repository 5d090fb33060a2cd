import { setTimeout as pause } from "node:timers/promises";

import { EXECUTE } from "./documents.mjs";

const AGAIN = new Set([undefined, "UNAUTHENTICATED", "SERVICE_UNAVAILABLE"]);

/**
 * Follow an execution to its end, over lost connections and expired tokens: the code runs once,
 * and `onEvent` is told every event once. `input` has a `clientExecutionId`.
 */
export async function follow(client, input, onEvent, onFault = () => {}) {
  let after = 0;
  let finished = false;
  let pauseMs = 100;
  while (true) {
    await new Promise((resolve, reject) => {
      client.subscribe(EXECUTE, { input: { ...input, after } }, {
        next: ({ executeCode: event }) => {
          if (event.seq <= after) return; // the client itself has subscribed again
          after = event.seq;
          pauseMs = 100;
          finished = event.__typename === "ExecutionFinished";
          onEvent(event);
        },
        error: (error) => {
          onFault(error);
          return AGAIN.has(error.code) ? resolve() : reject(error);
        },
        complete: resolve,
      });
    });
    if (finished) return;
    await pause(pauseMs);
    pauseMs = Math.min(pauseMs * 2, 10_000);
  }
}
