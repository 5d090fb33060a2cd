// Writes schema.ts, the types of SCHEMA, and operations.ts, those of the operations in page.graphql.
import { readFile, writeFile } from "node:fs/promises";

import { codegen } from "@graphql-codegen/core";
import * as typescript from "@graphql-codegen/typescript";
import * as operations from "@graphql-codegen/typescript-operations";
import { parse } from "graphql";

const read = async (path) => parse(await readFile(path, "utf8"));
const schema = await read(process.env.SCHEMA);
const documents = [{ location: "page.graphql", document: await read("page.graphql") }];
const config = {
  enumsAsTypes: true,
  strictScalars: true,
  scalars: { DateTime: "string", Base64: "string", JSON: "unknown" },
};

for (const [filename, plugin] of Object.entries({ "schema.ts": typescript, "operations.ts": operations })) {
  const plugins = [{ plugin: {} }];
  await writeFile(
    filename,
    await codegen({ filename, schema, documents, config, plugins, pluginMap: { plugin } }),
  );
}
