/** The part of the kernels' memory that a model's bytes are written into as they arrive. */

import { OxiLlamaError } from "../errors.js";

/** @import { KernelPool } from "./pool.js" */

/** The first size for a model of unknown size; it doubles as needed. */
const FIRST_GUESS_BYTES = 64 * 1024 * 1024;
/** What 32-bit addresses leave for a model beside the conversation and work buffers. */
const MAX_BYTES = 4 * 1024 ** 3 - 192 * 1024 ** 2;

/** Each file of a model begins at a multiple of this, which keeps tensors aligned for SIMD. */
const ALIGNMENT = 64;

export class ModelMemory {
  #pool;
  #capacity;
  /** @type {Map<number, number>} parts beyond `received`: their ends by their starts */
  #early = new Map();

  /** How many bytes have arrived without a gap from the beginning. */
  received = 0;

  /**
   * Where each of the model's files begins.
   *
   * @type {number[]}
   */
  starts = [];

  /**
   * @param {KernelPool} pool
   * @param {(number | null)[]} sizes  bytes of each file of the model, where known
   * @param {number} guess  bytes of all files, if the size of one is not known
   */
  constructor(pool, sizes, guess) {
    this.#pool = pool;
    /** @type {number | null} */
    let size = 0;
    for (const bytes of sizes) {
      if (size === null) break;
      this.starts.push(aligned(size));
      size = bytes === null ? null : aligned(size) + bytes;
    }
    this.#capacity = size ?? (guess || FIRST_GUESS_BYTES);
    this.size = size;
    if (this.#capacity > MAX_BYTES) throw tooLarge(this.#capacity);
    /** @readonly */
    this.address = pool.allocate(this.#capacity);
    if (this.address === 0) throw noRoom(this.#capacity);
  }

  /**
   * @param {Uint8Array} chunk
   * @param {number} offset
   */
  write(chunk, offset) {
    const end = offset + chunk.length;
    if (end > this.#capacity) this.#grow(end);
    this.#pool.view(this.address + offset, chunk.length).set(chunk);
    this.#early.set(offset, end);
    this.#advance();
  }

  /**
   * Begin the next file.
   *
   * @param {number} index
   * @returns {number} its offset
   */
  startFile(index) {
    const start = (this.starts[index] ??= aligned(this.received));
    this.#early.set(this.received, start); // the padding between two files
    this.#advance();
    return start;
  }

  /** All bytes have arrived. */
  finish() {
    this.size = this.received;
  }

  #advance() {
    for (let end; (end = this.#early.get(this.received)) !== undefined; ) {
      this.#early.delete(this.received);
      this.received = end;
    }
  }

  /** @param {number} end */
  #grow(end) {
    if (end > MAX_BYTES) throw tooLarge(end);
    const capacity = Math.min(Math.max(end, 2 * this.#capacity), MAX_BYTES);
    if (!this.#pool.resizeLast(this.address, capacity)) throw noRoom(capacity);
    this.#capacity = capacity;
  }
}

/** @param {number} offset */
function aligned(offset) {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}

/** @param {number} bytes */
function tooLarge(bytes) {
  return new OxiLlamaError({
    code: "out_of_memory",
    message:
      `the model has ${megabytes(bytes)}, and a tab can hold ${megabytes(MAX_BYTES)} at most; ` +
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
