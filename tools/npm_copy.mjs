#!/usr/bin/env node
// Copies what the worker needs to a folder that a web application serves:
//
//     npx oxillama-web public/oxillama

import { cp, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const target = process.argv[2];
if (target === undefined) {
  console.error("usage: oxillama-web FOLDER   (such as public/oxillama)");
  process.exit(2);
}
await mkdir(target, { recursive: true });
await cp(dirname(fileURLToPath(import.meta.url)), target, {
  recursive: true,
  filter: (path) => !/node_modules.oxillama-web.node_modules|[\\/]types[\\/]?/.test(path),
});
console.log(`copied into ${target}`);
