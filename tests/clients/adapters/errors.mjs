/** Give a fault the code of the first GraphQL error that the client shows; none where it lost the connection. */
export function coded(fault, errors) {
  const error = new Error(errors?.[0]?.message ?? String(fault?.message ?? fault), { cause: fault });
  error.code = errors?.[0]?.extensions?.code;
  return error;
}

/** Return an answer's data, or throw its errors. */
export function dataOf({ data, errors }) {
  if (errors?.length) throw coded(errors, errors);
  return data;
}
