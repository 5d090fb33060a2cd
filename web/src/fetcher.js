import { getOperationAST, parse } from 'graphql';

import { failure } from './failure.js';
import { subscription } from './subscription.js';

/**
 * Queries and mutations go over HTTP, subscriptions over a websocket, with the same headers: those
 * of the editor, or the first ones for the schema, which is read before the editor is there.
 */
export function createFetcher(path, firstHeaders) {
  return (params, options = {}) => {
    const given = 'headers' in options ? options.headers : firstHeaders;
    let headers;
    try {
      // As HTTP has it: names know no case, and some values can't be.
      headers = Object.fromEntries(new Headers(given ?? {}));
    } catch (error) {
      return failure(`These headers can't be sent: ${error.message}`);
    }
    const operation = operationIn(params);
    // For a moment GraphiQL names an operation of the tab that was in front before.
    const asked = { ...params, operationName: operation?.name?.value ?? params.operationName };
    return operation?.operation === 'subscription'
      ? subscription(path, asked, headers)
      : post(path, asked, headers);
  };
}

function operationIn({ query, operationName }) {
  try {
    const document = parse(query);
    return getOperationAST(document, operationName) ?? getOperationAST(document);
  } catch {
    // The API says better what is wrong with it.
    return null;
  }
}

async function post(path, params, headers) {
  let response;
  try {
    response = await fetch(path, {
      method: 'POST',
      headers: {
        accept: 'application/graphql-response+json, application/json;q=0.9',
        'content-type': 'application/json',
        ...headers,
      },
      body: JSON.stringify(params),
    });
  } catch (error) {
    return failure(`The API does not answer: does it still run? (${error.message})`);
  }
  try {
    return await response.json();
  } catch {
    return failure(`This is no answer of the API's: ${response.status} ${response.statusText}`);
  }
}
