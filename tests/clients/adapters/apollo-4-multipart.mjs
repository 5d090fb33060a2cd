import { openApollo } from "./apollo-4.mjs";

export const open = (at) => openApollo(at);
