/** XXH64 of blocks of bytes, in WebAssembly: kernels_c/text/checksum.c. */

import { compile } from "../kernels/module.js";

const PAGE_BYTES = 65536;

/**
 * @typedef {object} ChecksumModule  what ox-checksum.wasm exports
 * @property {WebAssembly.Memory} memory
 * @property {WebAssembly.Global} __heap_base
 * @property {(address: number, bytes: bigint) => bigint} ox_checksum
 */

/** @type {Promise<WebAssembly.Module> | null} */
let compiled = null;

export class Checksum {
  #module;
  #address;

  /**
   * @param {ChecksumModule} module
   * @param {number} maxBytes  of a block
   */
  constructor(module, maxBytes) {
    this.#module = module;
    this.#address = Number(module.__heap_base.value);
    module.memory.grow(Math.ceil((this.#address + maxBytes) / PAGE_BYTES));
    /**
     * Memory for a block, which `of` then need not copy.
     *
     * @readonly
     */
    this.scratch = new Uint8Array(module.memory.buffer, this.#address, maxBytes);
  }

  /** @param {number} maxBytes  of a block */
  static async open(maxBytes) {
    compiled ??= compile("ox-checksum.wasm");
    const { exports } = await WebAssembly.instantiate(await compiled);
    return new Checksum(/** @type {any} */ (exports), maxBytes);
  }

  /**
   * @param {Uint8Array} bytes  at most `maxBytes`
   * @returns {string} hexadecimal
   */
  of(bytes) {
    if (bytes.buffer !== this.scratch.buffer) this.scratch.set(bytes);
    const hash = this.#module.ox_checksum(this.#address, BigInt(bytes.length));
    return BigInt.asUintN(64, hash).toString(16).padStart(16, "0");
  }
}
