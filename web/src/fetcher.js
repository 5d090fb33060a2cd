import { getOperationAST, parse } from 'graphql';
import { createClient } from 'graphql-ws';

/** Queries and mutations go over HTTP, subscriptions over a websocket, with the same headers. */
export function createFetcher(path) {
  return (params, options) => {
    const headers = options?.headers ?? {};
    return isSubscription(params, options?.documentAST)
      ? subscribe(path, params, headers)
      : post(path, params, headers);
  };
}

function isSubscription({ query, operationName }, document) {
  const operation = getOperationAST(document ?? parse(query), operationName);
  return operation?.operation === 'subscription';
}

async function post(path, params, headers) {
  const response = await fetch(path, {
    method: 'POST',
    headers: {
      accept: 'application/graphql-response+json, application/json;q=0.9',
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(params),
  });
  return response.json();
}

/** One socket a subscription: a token changed in the headers counts from the next one on. */
async function* subscribe(path, params, headers) {
  const url = new URL(path, window.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const client = createClient({ url: url.href, connectionParams: headers, retryAttempts: 0 });
  try {
    yield* client.iterate(params);
  } catch (error) {
    throw error instanceof CloseEvent ? new Error(reason(error)) : error;
  } finally {
    await client.dispose();
  }
}

function reason({ code, reason: given }) {
  return code === 4403
    ? 'The token is missing or not good (4403): put one into the headers.'
    : `The websocket was closed: ${code} ${given}`;
}
