/** Starts Python (Pyodide) in this worker, with oxillama_web on its path. */

import { OxiLlamaError } from "./protocol.js";

/** @import { PyodideAPI, PyodideConfig } from "pyodide" */

/**
 * @typedef {typeof import("pyodide").loadPyodide} LoadPyodide
 *
 * @typedef {object} Manifest  written by the build beside this file
 * @property {string} version
 * @property {string[]} wheels  paths, relative to this file
 * @property {string | null} snapshot  path of the gzipped memory snapshot
 * @property {{info: object, packages: object}} lock  an empty Pyodide lock: nothing more is fetched
 *
 * @typedef {object} Runtime
 * @property {PyodideAPI} pyodide
 * @property {"relaxed" | "simd128"} kernels
 * @property {boolean} snapshot
 */

const PYODIDE_URL = new URL("./pyodide/", import.meta.url).href;

/** @returns {Promise<Runtime>} */
export async function startRuntime() {
  try {
    const kernels = chooseKernels();
    // all at once: none needs another to begin
    const [manifest, { loadPyodide }] = await Promise.all([
      fetchManifest(),
      importFrom("pyodide.mjs"),
      importFrom("pyodide.asm.mjs"),
    ]);
    const options = {
      indexURL: PYODIDE_URL,
      packageBaseUrl: PYODIDE_URL,
      lockFileContents: JSON.stringify(manifest.lock),
      env: { OXILLAMA_KERNELS: kernels },
    };
    const resumed = await startFromSnapshot(loadPyodide, options, manifest, kernels);
    const pyodide = resumed ?? (await startPlainly(loadPyodide, options, manifest));
    return { pyodide, kernels, snapshot: resumed !== null };
  } catch (error) {
    if (error instanceof OxiLlamaError) throw error;
    throw new OxiLlamaError({
      code: "runtime",
      message: `Python could not be started in this page: ${reasonOf(error)}`,
      detail: error instanceof Error ? error.stack : "",
    });
  }
}

/**
 * Python as the build left it in memory, with the package imported. Experimental in Pyodide: a
 * failure is no more than a slower start.
 *
 * @param {LoadPyodide} loadPyodide
 * @param {PyodideConfig} options
 * @param {Manifest} manifest
 * @param {string} kernels
 * @returns {Promise<PyodideAPI | null>}
 */
async function startFromSnapshot(loadPyodide, options, manifest, kernels) {
  if (manifest.snapshot === null) return null;
  try {
    const snapshot = fetchGzipped(manifest.snapshot);
    const pyodide = await loadPyodide({ ...options, _loadSnapshot: snapshot });
    const browser = pyodide.pyimport("oxillama_web.browser");
    browser.resume_snapshot(kernels);
    browser.destroy();
    return pyodide;
  } catch (error) {
    console.warn("oxillama: the memory snapshot cannot be used, Python starts without it:", error);
    return null;
  }
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
 * @returns {Promise<typeof import("pyodide")>}
 */
function importFrom(file) {
  return import(PYODIDE_URL + file);
}

/** @returns {Promise<Manifest>} */
async function fetchManifest() {
  return (await fetchFile("manifest.json")).json();
}

/** @param {string} path */
async function fetchGzipped(path) {
  const { body } = await fetchFile(path);
  if (body === null) throw new Error(`${path} is empty`);
  return new Response(body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** @param {string} path */
async function fetchFile(path) {
  const response = await fetch(new URL(path, import.meta.url));
  if (!response.ok) throw new Error(`${path}: HTTP status ${response.status}`);
  return response;
}

/**
 * `relaxed` where the browser knows i32x4.relaxed_dot_i8x16_i7x16_add_s, which the faster library
 * needs: an engine without it refuses the whole library.
 */
function chooseKernels() {
  // (func (param v128 v128 v128) (result v128)
  //   (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 0) (local.get 1) (local.get 2)))
  const relaxed = [
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b,
    0x01, 0x7b, 0x03, 0x02, 0x01, 0x00, 0x0a, 0x0d, 0x01, 0x0b, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20,
    0x02, 0xfd, 0x93, 0x02, 0x0b,
  ];
  return WebAssembly.validate(new Uint8Array(relaxed)) ? "relaxed" : "simd128";
}

/** @param {unknown} error */
function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}
