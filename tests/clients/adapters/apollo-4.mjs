import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache } from "@apollo/client";
import { SetContextLink } from "@apollo/client/link/context";
import { OperationTypeNode, parse } from "graphql";

import { coded } from "./errors.mjs";

const shown = (fault) => coded(fault, CombinedGraphQLErrors.is(fault) ? fault.errors : undefined);

/** Apollo Client 4; `streams` is the link that subscriptions take, HTTP's own where left out. */
export function openApollo({ url, authorization }, streams) {
  const http = new SetContextLink(async ({ headers }) => ({
    headers: { ...headers, authorization: await authorization() },
  })).concat(new HttpLink({ uri: url }));
  const link = streams
    ? ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, streams, http)
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
        next: ({ data, error: fault }) => (fault ? error(shown(fault)) : next(data)),
        error: (fault) => error(shown(fault)),
        complete,
      });
      return () => following.unsubscribe();
    },
    close: () => client.stop(),
  };
}
