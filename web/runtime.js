/** Starts Python (Pyodide) in this worker, with oxillama_web on its path. */

import { OxiLlamaError } from "./protocol.js";

/** @import { PyodideAPI } from "pyodide" */

/**
 * @typedef {object} Manifest  written by the build beside this file
 * @property {string} version
 * @property {string[]} wheels  paths, relative to this file
 * @property {string | null} snapshot
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
    const { loadPyodide } = await importPyodide();
    const manifest = await fetchManifest();
    const wheels = manifest.wheels.map(fetchBytes);
    const pyodide = await loadPyodide({
      indexURL: PYODIDE_URL,
      packageBaseUrl: PYODIDE_URL,
      lockFileContents: JSON.stringify(manifest.lock),
      env: { OXILLAMA_KERNELS: kernels },
    });
    for (const wheel of wheels) pyodide.unpackArchive(await wheel, "wheel");
    return { pyodide, kernels, snapshot: false };
  } catch (error) {
    if (error instanceof OxiLlamaError) throw error;
    throw new OxiLlamaError({
      code: "runtime",
      message: `Python could not be started in this page: ${reasonOf(error)}`,
      detail: error instanceof Error ? error.stack : "",
    });
  }
}

/** @returns {Promise<typeof import("pyodide")>} */
function importPyodide() {
  return import(`${PYODIDE_URL}pyodide.mjs`);
}

/** @returns {Promise<Manifest>} */
async function fetchManifest() {
  return (await fetchFile("manifest.json")).json();
}

/** @param {string} path */
async function fetchBytes(path) {
  return (await fetchFile(path)).arrayBuffer();
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
