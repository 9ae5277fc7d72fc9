/**
 * Starts Python once, imports the package, and writes its memory to a file: pages begin from there,
 * in less than half of the time.
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

// Node would print the one line that Pyodide's source is
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
  // the snapshot of the same files is the same; every page shares its seed anyway
  env: { PYTHONHASHSEED: "0" },
});
for (const wheel of manifest.wheels) {
  pyodide.unpackArchive(new Uint8Array(readFileSync(join(site, wheel))), "wheel");
}
pyodide.runPython("from oxillama_web import browser; browser.prepare_snapshot()");
// experimental in Pyodide: one more reason for its pinned version
const snapshot = pyodide.makeMemorySnapshot();
writeFileSync(out, gzipSync(snapshot, { level: 9 }));
process.exit(0);
