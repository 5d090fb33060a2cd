import { GraphQLWsLink } from "apollo-client-3/link/subscriptions/index.js";

import { openApollo } from "./apollo-3.mjs";
import { socketTo } from "./socket.mjs";

export const open = (at) => openApollo(at, new GraphQLWsLink(socketTo(at)));
