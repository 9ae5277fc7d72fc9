/** Memory of the kernels that a model's bytes are written into as they come. */

import { OxiLlamaError } from "./protocol.js";

/** @import { KernelPool } from "./kernel_pool.js" */

/** For a model whose size nobody told; it doubles as needed. */
const FIRST_GUESS_BYTES = 64 * 1024 * 1024;
/** What 32-bit addresses leave to a model, beside the conversation and work buffers. */
const MOST_BYTES = 4 * 1024 ** 3 - 192 * 1024 ** 2;

export class ModelMemory {
  #pool;
  #capacity;

  /** Bytes that have come; all before them, too. */
  received = 0;

  /**
   * @param {KernelPool} pool
   * @param {number | null} size  bytes of the whole model, where known
   */
  constructor(pool, size) {
    this.#pool = pool;
    this.#capacity = size ?? FIRST_GUESS_BYTES;
    this.size = size;
    if (this.#capacity > MOST_BYTES) throw tooLarge(this.#capacity);
    /** @readonly */
    this.address = pool.allocate(this.#capacity);
    if (this.address === 0) throw noRoom(this.#capacity);
  }

  /**
   * @param {Uint8Array} chunk
   * @param {number} offset  where the last one ended
   */
  write(chunk, offset) {
    const end = offset + chunk.length;
    if (end > this.#capacity) this.#grow(end);
    this.#pool.view(this.address + offset, chunk.length).set(chunk);
    this.received = end;
  }

  /** All has come. */
  finish() {
    this.size = this.received;
  }

  /** @param {number} end */
  #grow(end) {
    if (end > MOST_BYTES) throw tooLarge(end);
    const capacity = Math.min(Math.max(end, 2 * this.#capacity), MOST_BYTES);
    if (!this.#pool.resizeLast(this.address, capacity)) throw noRoom(capacity);
    this.#capacity = capacity;
  }
}

/** @param {number} bytes */
function tooLarge(bytes) {
  return new OxiLlamaError({
    code: "out_of_memory",
    message:
      `the model has ${megabytes(bytes)}, and a tab can hold ${megabytes(MOST_BYTES)} at most; ` +
      "choose a smaller model, or the same one with fewer bits a weight",
  });
}

/** @param {number} bytes */
function noRoom(bytes) {
  return new OxiLlamaError({
    code: "out_of_memory",
    message:
      `this tab cannot hold a model of ${megabytes(bytes)}; close other tabs, or choose a ` +
      "smaller model",
  });
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}
