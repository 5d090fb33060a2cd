const LISTS = ['queries', 'favorites'];

/**
 * The browser's storage, without headers: they hold tokens, which GraphiQL's history would keep
 * whatever `shouldPersistHeaders` says. What comes out of it has the given headers.
 */
export function storageWithoutHeaders(headers) {
  const changed = (key, text, change) => {
    const list = LISTS.find((name) => key === `graphiql:${name}`);
    if (!list || !text) return text;
    return JSON.stringify({ [list]: JSON.parse(text)[list].map(change) });
  };
  return {
    getItem: (key) =>
      changed(key, localStorage.getItem(key), (item) => ({ ...item, headers })),
    setItem: (key, text) =>
      localStorage.setItem(
        key,
        changed(key, text, (item) => ({ ...item, headers: undefined })),
      ),
    removeItem: (key) => localStorage.removeItem(key),
    clear: () => localStorage.clear(),
    get length() {
      return localStorage.length;
    },
  };
}
