/** Starts Python (Pyodide) in this worker, with oxillama_web on its path. */

import { InflatedFile } from "../storage/inflated_file.js";
import { ASSETS } from "../assets.js";
import { toOxiLlamaError } from "../errors.js";

/** @import { PyodideAPI, PyodideConfig } from "pyodide" */

/**
 * @typedef {typeof import("pyodide").loadPyodide} LoadPyodide
 * @typedef {(settings: any) => Promise<any>} CreateModule  Pyodide's, of its own module
 *
 * @typedef {object} Manifest  manifest.json, which the build writes
 * @property {string} version
 * @property {string[]} wheels  paths, relative to the folder of assets
 * @property {string | null} snapshot  path of the gzipped memory snapshot
 * @property {{info: object, packages: object}} lock  an empty Pyodide lock: nothing more is fetched
 *
 * @typedef {object} Runtime
 * @property {PyodideAPI} pyodide
 * @property {boolean} snapshot
 * @property {() => Promise<number>} keep  keeps the memory snapshot for the next start, which takes
 *   a moment, and returns how many starts have used it
 */

const PYODIDE_URL = `${ASSETS}pyodide/`;

/** @returns {Promise<Runtime>} */
export async function startRuntime() {
  const watch = watchModule();
  try {
    return await Promise.race([start(), watch.failed]);
  } catch (error) {
    throw toOxiLlamaError(error, "runtime", "Python could not be started in this page");
  } finally {
    watch.end();
  }
}

/** @returns {Promise<Runtime>} */
async function start() {
  // in parallel: they do not need each other to begin
  const [manifest, { loadPyodide }, { default: createModule }] = await Promise.all([
    fetchManifest(),
    importFrom("pyodide.mjs"),
    importFrom("pyodide.asm.mjs"),
  ]);
  const options = {
    indexURL: PYODIDE_URL,
    packageBaseUrl: PYODIDE_URL,
    lockFileContents: JSON.stringify(manifest.lock),
    createPyodideModule: withRoom(createModule),
  };
  const resumed = await startFromSnapshot(loadPyodide, options, manifest);
  if (resumed !== null) return resumed;
  const pyodide = await startPlainly(loadPyodide, options, manifest);
  return { pyodide, snapshot: false, keep: async () => 0 };
}

/**
 * Watch for a failure that loadPyodide only writes to the console, before it hangs: its WebAssembly
 * module cannot be fetched or compiled.
 *
 * @returns {{failed: Promise<never>, end: () => void}}
 */
function watchModule() {
  const { warn } = console;
  let hasFailed = false;
  /** @type {Promise<never>} */
  const failed = new Promise((_, reject) => {
    console.warn = (...values) => {
      warn(...values);
      if (hasFailed) reject(values[0]); // the second line is the reason
      hasFailed = values[0] === "wasm instantiation failed!";
    };
  });
  failed.catch(() => {});
  return { failed, end: () => (console.warn = warn) };
}

/**
 * Start Python from the memory snapshot of the build, with the package imported. That is
 * experimental in Pyodide: if it fails, Python starts without it, only more slowly.
 *
 * @param {LoadPyodide} loadPyodide
 * @param {PyodideConfig} options
 * @param {Manifest} manifest
 * @returns {Promise<Runtime | null>}
 */
async function startFromSnapshot(loadPyodide, options, manifest) {
  if (manifest.snapshot === null) return null;
  try {
    const path = manifest.snapshot;
    // reading an inflated file is faster than inflating it
    const file = new InflatedFile(ASSETS + path, async () => (await fetchFile(path)).blob());
    const memory = file.read();
    const pyodide = await loadPyodide({ ...options, _loadSnapshot: memory });
    // Pyodide holds on to its options, and with them to a copy of Python's memory
    (await memory).transfer?.(0);
    const module = pyodide.pyimport("oxillama_web.browser.memory_snapshot");
    module.resume();
    module.destroy();
    return { pyodide, snapshot: true, keep: () => file.keep() };
  } catch (error) {
    console.warn("oxillama: the memory snapshot cannot be used, Python starts without it:", error);
    return null;
  }
}

/**
 * Return Pyodide's constructor of modules, with room in their memory for a snapshot. Pyodide asks
 * for that by INITIAL_MEMORY, which its own build ignores: a larger snapshot would not fit.
 *
 * @param {CreateModule} createModule
 */
function withRoom(createModule) {
  return async (/** @type {{INITIAL_MEMORY?: number}} */ settings) => {
    const module = await createModule(settings);
    const size = settings.INITIAL_MEMORY ?? 0;
    if (size > module.HEAP8.length) module.growMemory(size);
    return module;
  };
}

/**
 * @param {LoadPyodide} loadPyodide
 * @param {PyodideConfig} options
 * @param {Manifest} manifest
 */
async function startPlainly(loadPyodide, options, manifest) {
  const wheels = manifest.wheels.map(async (path) => (await fetchFile(path)).arrayBuffer());
  const pyodide = await loadPyodide(options);
  for (const wheel of await Promise.all(wheels)) pyodide.unpackArchive(wheel, "wheel");
  return pyodide;
}

/**
 * @param {PyodideAPI} pyodide
 * @returns {number} bytes of Python's memory, which never shrinks
 */
export function heapBytes(pyodide) {
  const proxy = pyodide.runPython("bytearray(1)");
  const view = proxy.getBuffer("u8");
  const bytes = view.data.buffer.byteLength;
  view.release();
  proxy.destroy();
  return bytes;
}

/**
 * @param {string} file
 * @returns {Promise<typeof import("pyodide") & {default: CreateModule}>}
 */
function importFrom(file) {
  return import(PYODIDE_URL + file);
}

/** @returns {Promise<Manifest>} */
async function fetchManifest() {
  return (await fetchFile("manifest.json")).json();
}

/** @param {string} path */
async function fetchFile(path) {
  const response = await fetch(ASSETS + path);
  if (!response.ok) throw new Error(`${path}: HTTP status ${response.status}`);
  return response;
}
