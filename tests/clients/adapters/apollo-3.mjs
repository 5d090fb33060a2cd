import { ApolloClient, HttpLink, InMemoryCache, split } from "apollo-client-3/core/index.js";
import { setContext } from "apollo-client-3/link/context/index.js";
import { getMainDefinition } from "apollo-client-3/utilities/index.js";
import { parse } from "graphql";

import { coded } from "./errors.mjs";

// What a stream ends with comes as a protocol error, what an answer holds as a GraphQL error.
const shown = (fault) =>
  coded(fault, fault.graphQLErrors?.length ? fault.graphQLErrors : fault.protocolErrors);

/** Apollo Client 3; `streams` is the link that subscriptions take, HTTP's own where left out. */
export function openApollo({ url, authorization }, streams) {
  const http = setContext(async (_, { headers }) => ({
    headers: { ...headers, authorization: await authorization() },
  })).concat(new HttpLink({ uri: url }));
  const link = streams
    ? split(({ query }) => getMainDefinition(query).operation === "subscription", streams, http)
    : http;
  const client = new ApolloClient({ cache: new InMemoryCache(), link });
  const fetchPolicy = "no-cache";

  async function answer(asked) {
    try {
      return (await asked).data;
    } catch (fault) {
      throw shown(fault);
    }
  }

  return {
    query: (text, variables) => answer(client.query({ query: parse(text), variables, fetchPolicy })),
    mutate: (text, variables) => answer(client.mutate({ mutation: parse(text), variables, fetchPolicy })),
    subscribe(text, variables, { next, error, complete }) {
      const following = client.subscribe({ query: parse(text), variables, fetchPolicy }).subscribe({
        next: ({ data, errors }) => (errors ? error(coded(errors, errors)) : next(data)),
        error: (fault) => error(shown(fault)),
        complete,
      });
      return () => following.unsubscribe();
    },
    close: () => client.stop(),
  };
}
