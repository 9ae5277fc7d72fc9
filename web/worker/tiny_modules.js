/** Python's start compiles a tiny WebAssembly module for each of some 260 functions that JavaScript
 * gives it, and the same few again and again: a module holds nothing but the function's type. */

const MOST_BYTES = 64;

/**
 * While `work` runs, equal tiny modules are compiled once.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function sharingTinyModules(work) {
  const { Module } = WebAssembly;
  /** @type {Map<string, WebAssembly.Module>} */
  const modules = new Map();
  WebAssembly.Module = new Proxy(Module, {
    construct(target, values) {
      const [bytes] = values;
      if (!(bytes instanceof Uint8Array) || bytes.length > MOST_BYTES) {
        return Reflect.construct(target, values);
      }
      const key = bytes.join();
      const module = modules.get(key) ?? Reflect.construct(target, values);
      modules.set(key, module);
      return module;
    },
  });
  try {
    return await work();
  } finally {
    WebAssembly.Module = Module;
  }
}
