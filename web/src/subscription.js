import { createClient } from 'graphql-ws';

import { failure } from './failure.js';
import { Results } from './results.js';

/**
 * An observable of all results so far: GraphiQL shows the last thing that it is given.
 *
 * One socket a subscription: a token changed in the headers counts from the next one on.
 */
export function subscription(path, params, headers) {
  return {
    subscribe(observer) {
      const client = createClient({
        url: new URL(path, window.location.href.replace(/^http/, 'ws')).href,
        connectionParams: headers,
        // Who subscribes again, by GraphiQL's button, sees that it is another subscription.
        retryAttempts: 0,
      });
      const results = new Results(observer);
      const leave = client.subscribe(params, {
        next: (result) => results.add(result),
        error: (error) => results.end(told(error)),
        complete: () => results.end(),
      });
      return {
        unsubscribe() {
          results.drop();
          leave();
        },
      };
    },
  };
}

function told(error) {
  if (Array.isArray(error)) return { errors: error };
  if (!(error instanceof CloseEvent)) return failure(error.message);
  return failure(
    error.reason
      ? `${error.reason} (the websocket was closed: ${error.code})`
      : `The websocket was closed (${error.code}): does the API still run?`,
  );
}
