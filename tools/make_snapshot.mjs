/**
 * Starts Python once, imports the package, and writes Python's memory to a file. Pages start from
 * there in less than half the time.
 *
 *     node tools/make_snapshot.mjs build/site build/snapshot.bin.gz
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const [site, out] = process.argv.slice(2);
if (site === undefined || out === undefined) {
  console.error("usage: node tools/make_snapshot.mjs SITE OUT");
  process.exit(2);
}

// Node would print the line of the error, which is all of Pyodide's source
process.on("uncaughtException", (error) => {
  console.error(error.message);
  process.exit(1);
});

/** @type {import("../web/worker/runtime.js").Manifest} */
const manifest = JSON.parse(readFileSync(join(site, "manifest.json"), "utf8"));
const pyodideUrl = pathToFileURL(join(site, "pyodide", "pyodide.mjs")).href;
/** @type {typeof import("pyodide")} */
const { loadPyodide } = await import(pyodideUrl);

const pyodide = await loadPyodide({
  _makeSnapshot: true,
  lockFileContents: JSON.stringify(manifest.lock),
  packageBaseUrl: pyodideUrl,
  // the same files make the same snapshot; all pages share its seed anyway
  env: { PYTHONHASHSEED: "0" },
});
for (const wheel of manifest.wheels) {
  pyodide.unpackArchive(new Uint8Array(readFileSync(join(site, wheel))), "wheel");
}
pyodide.runPython("from oxillama_web.browser import memory_snapshot; memory_snapshot.prepare()");
// experimental in Pyodide, which is one more reason to pin its version
const snapshot = pyodide.makeMemorySnapshot();
writeFileSync(out, gzipSync(snapshot, { level: 9 }));
process.exit(0);
