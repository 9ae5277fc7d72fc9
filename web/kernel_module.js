/** The kernels' WebAssembly modules, which lie beside these files. */

/**
 * @param {string} file  in kernels/
 * @returns {Promise<WebAssembly.Module>}
 */
export async function compile(file) {
  const url = new URL(`./kernels/${file}`, import.meta.url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${file}: HTTP status ${response.status}`);
  // a host that does not know the type would have streaming compilation refused
  const typed = response.headers.get("Content-Type")?.startsWith("application/wasm");
  return typed
    ? WebAssembly.compileStreaming(response)
    : WebAssembly.compile(await response.arrayBuffer());
}
