/** What went wrong before the API could say so, in the shape of its own errors. */
export const failure = (message) => ({ errors: [{ message }] });
