// Bundles the page's scripts and the editor's workers into dist/static/, which the API serves as
// /static/, and writes dist/graphiql.html, which it serves itself, with a token where it may.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';

import { build } from 'esbuild';

const BASE = '/static/';

await rm('dist', { recursive: true, force: true });
await mkdir('dist', { recursive: true });

const { metafile } = await build({
  entryPoints: {
    graphiql: 'src/graphiql.jsx',
    'editor.worker': 'monaco-editor/esm/vs/editor/editor.worker.js',
    'json.worker': 'monaco-editor/esm/vs/language/json/json.worker.js',
    'graphql.worker': 'monaco-graphql/esm/graphql.worker.js',
  },
  outdir: 'dist/static',
  entryNames: '[name]-[hash]',
  chunkNames: 'chunks/[name]-[hash]',
  assetNames: 'assets/[name]-[hash]',
  publicPath: BASE,
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  minify: true,
  // GraphiQL labels its buttons by the names of its components.
  keepNames: true,
  legalComments: 'linked',
  metafile: true,
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.ttf': 'file' },
  logLevel: 'warning',
});

const outputs = Object.keys(metafile.outputs).map((path) => basename(path));
const built = (name, end) =>
  BASE + outputs.find((file) => file.startsWith(`${name}-`) && file.endsWith(end));

const page = (await readFile('graphiql.html', 'utf8'))
  .replace('%SCRIPT%', built('graphiql', '.js'))
  .replace('%STYLE%', built('graphiql', '.css'))
  .replace('%EDITOR_WORKER%', built('editor.worker', '.js'))
  .replace('%JSON_WORKER%', built('json.worker', '.js'))
  .replace('%GRAPHQL_WORKER%', built('graphql.worker', '.js'));
await writeFile('dist/graphiql.html', page);
