import { openApollo } from "./apollo-3.mjs";

export const open = (at) => openApollo(at);
