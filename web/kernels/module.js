/** The kernels' WebAssembly modules. */

import { ASSETS } from "../assets.js";
import { OxiLlamaError } from "../errors.js";

/** OX_ABI_VERSION of kernels_c/ox.h */
const ABI_VERSION = 12;

/**
 * @param {string} file  in kernels/
 * @returns {Promise<WebAssembly.Module>}
 */
export async function compile(file) {
  const response = await fetch(`${ASSETS}kernels/${file}`);
  if (!response.ok) throw new Error(`${file}: HTTP status ${response.status}`);
  // streaming compilation is refused if the host does not know the type
  const typed = response.headers.get("Content-Type")?.startsWith("application/wasm");
  return typed
    ? WebAssembly.compileStreaming(response)
    : WebAssembly.compile(await response.arrayBuffer());
}

/**
 * Throw an error if a module has another version than these files.
 *
 * @param {string} file  its name
 * @param {WebAssembly.Exports} exports
 */
export function checkVersion(file, { ox_abi_version: versionOf }) {
  const found = typeof versionOf === "function" ? versionOf() : "none";
  if (found === ABI_VERSION) return;
  throw new OxiLlamaError({
    code: "kernel",
    message:
      `the kernels in ${file} have interface version ${found}, and this page needs ` +
      `${ABI_VERSION}; build the site again (./build_wasm.sh), or empty the browser's cache`,
  });
}
