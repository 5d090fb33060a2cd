import { GraphQLWsLink } from "@apollo/client/link/subscriptions";

import { openApollo } from "./apollo-4.mjs";
import { socketTo } from "./socket.mjs";

export const open = (at) => openApollo(at, new GraphQLWsLink(socketTo(at)));
