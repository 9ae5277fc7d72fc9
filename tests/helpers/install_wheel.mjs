/**
 * Installs the wheel with micropip into a Pyodide in Node and runs some Python.
 *
 *     node tests/helpers/install_wheel.mjs '{"pyodide": DIR, "archives": [...], "wheel": PATH,
 *       "files": {"/in/pyodide": PATH}, "code": PYTHON}'
 *
 * Prints what the code evaluates to. `archives` are wheels to unpack first: micropip itself.
 */

import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

/**
 * @type {{pyodide: string, archives: string[], wheel: string, files: Record<string, string>,
 *   code: string}}
 */
const job = JSON.parse(process.argv[2] ?? "{}");

process.on("uncaughtException", (error) => {
  console.error(error.message);
  process.exit(1);
});

/** @type {typeof import("pyodide")} */
const { loadPyodide } = await import(pathToFileURL(join(job.pyodide, "pyodide.mjs")).href);
const pyodide = await loadPyodide();
for (const archive of job.archives) pyodide.unpackArchive(bytes(archive), "wheel");
const wheel = `/tmp/${basename(job.wheel)}`;
pyodide.FS.writeFile(wheel, bytes(job.wheel));
for (const [target, path] of Object.entries(job.files)) pyodide.FS.writeFile(target, bytes(path));

const micropip = pyodide.pyimport("micropip");
await micropip.install(`emfs:${wheel}`);
console.log(await pyodide.runPythonAsync(job.code));
process.exit(0);

/** @param {string} path */
function bytes(path) {
  return new Uint8Array(readFileSync(path));
}
