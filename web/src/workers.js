// The editor runs its language services in workers, whose built names the page knows.
const KINDS = { json: 'jsonWorker', graphql: 'graphqlWorker' };

globalThis.MonacoEnvironment = {
  getWorker(_id, label) {
    const address = document.body.dataset[KINDS[label] ?? 'editorWorker'];
    return new Worker(address, { type: 'module' });
  },
};
