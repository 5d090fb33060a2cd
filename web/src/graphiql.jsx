import './workers.js';
import 'graphiql/style.css';
import './graphiql.css';

import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { createFetcher } from './fetcher.js';

const DEFAULT_QUERY = `# Put a token into the headers below: make token prints one.
#
#   { "Authorization": "Bearer ..." }
#
# The websocket sends the same header, so that subscriptions work too.

query Viewer {
  viewer { id usage { sandboxes runningSandboxes } }
  sandboxes(first: 5) { nodes { id name status } totalCount }
}
`;

createRoot(document.getElementById('graphiql')).render(
  <GraphiQL
    fetcher={createFetcher('/graphql')}
    defaultQuery={DEFAULT_QUERY}
    defaultHeaders={'{\n  "Authorization": "Bearer "\n}'}
    shouldPersistHeaders={false}
    isHeadersEditorEnabled
  />,
);
