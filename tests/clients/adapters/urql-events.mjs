import { openUrql } from "./urql.mjs";

export const open = (at) => openUrql(at, { fetchSubscriptions: true });
