import './workers.js';
import 'graphiql/style.css';
import './graphiql.css';

import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { Editors } from './editors.jsx';
import { exampleTabs } from './examples.js';
import { createFetcher } from './fetcher.js';
import { storageWithoutHeaders } from './storage.js';

// The API fills one in where it may.
const { token } = document.body.dataset;
const firstHeaders = { Authorization: `Bearer ${token}` };
const headers = JSON.stringify(firstHeaders, null, 2);

createRoot(document.getElementById('graphiql')).render(
  <GraphiQL
    fetcher={createFetcher('/graphql', firstHeaders)}
    defaultTabs={exampleTabs(token !== '')}
    defaultHeaders={headers}
    defaultEditorToolsVisibility={token ? 'variables' : 'headers'}
    shouldPersistHeaders={false}
    storage={storageWithoutHeaders(headers)}
    isHeadersEditorEnabled
  >
    <GraphiQL.Logo>
      Sandbox API
      <Editors />
    </GraphiQL.Logo>
  </GraphiQL>,
);
