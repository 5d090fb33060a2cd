// Runs every audit of graphql-http against URL, with TOKEN, and prints them as JSON.
import { auditServer } from "graphql-http";

const { URL: url, TOKEN: token } = process.env;
const fetchFn = (address, options = {}) =>
  fetch(address, {
    ...options,
    headers: { ...options.headers, authorization: `Bearer ${token}` },
  });
const results = await auditServer({ url, fetchFn });
console.log(
  JSON.stringify(results.map(({ id, name, status, reason }) => ({ id, name, status, reason }))),
);
