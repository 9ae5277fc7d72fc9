/**
 * A model file on this device, of which any part can be read at once: what a model with a memory
 * budget runs from.
 */

import { CacheEntry } from "./cache_entry.js";
import { OxiLlamaError } from "../protocol.js";
import { openSources, readModel } from "./sources.js";

/** @import { KernelPool } from "../kernels/pool.js" */
/** @import { ByteSource, CacheMode } from "../protocol.js" */
/** @import { OpenSource } from "./sources.js" */

/** So much is read at a time: larger pieces would leave more behind for the garbage collector. */
const PIECE_BYTES = 1024 * 1024;

/**
 * @typedef {object} DeviceFile
 * @property {number} size
 * @property {(bytes: Uint8Array<ArrayBuffer>, offset: number) => number} readAt  fills `bytes`;
 *   gives how many could be read
 */

export class PagedFile {
  #file;
  #pool;
  #piece = new Uint8Array(PIECE_BYTES);

  /**
   * @param {DeviceFile} file
   * @param {KernelPool} pool  into whose memory it is read
   */
  constructor(file, pool) {
    this.#file = file;
    this.#pool = pool;
    /** @readonly */
    this.size = file.size;
  }

  /**
   * @param {number} offset
   * @param {number} bytes
   * @returns {Uint8Array}
   */
  read(offset, bytes) {
    const result = new Uint8Array(bytes);
    this.#copy(offset, bytes, (piece, at) => result.set(piece, at));
    return result;
  }

  /**
   * @param {number} address  in the kernels' memory
   * @param {number} offset
   * @param {number} bytes
   */
  readInto(address, offset, bytes) {
    const view = this.#pool.view(address, bytes);
    this.#copy(offset, bytes, (piece, at) => view.set(piece, at));
  }

  /**
   * @param {number} offset
   * @param {number} bytes
   * @param {(piece: Uint8Array, at: number) => void} write
   */
  #copy(offset, bytes, write) {
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      const piece = this.#piece.subarray(0, Math.min(PIECE_BYTES, bytes - at));
      if (this.#file.readAt(piece, offset + at) !== piece.length) {
        throw new Error(`the model's file ends before byte ${offset + bytes}`);
      }
      write(piece, at);
    }
  }
}

/**
 * A model on this device; what comes from an address is kept first.
 *
 * @param {ByteSource} source
 * @param {AbortSignal} signal
 * @param {CacheMode} cache
 * @param {(file: OpenSource, bytes: number) => void} onChunk
 * @returns {Promise<DeviceFile>}
 */
export async function openOnDevice(source, signal, cache, onChunk) {
  if (source.kind === "blob") return fromBlob(source.blob);
  if (source.kind === "buffer") return fromBlob(new Blob([source.buffer]));
  if (source.kind === "stream") throw unusable("it comes as a stream");
  if (cache === "use") {
    const kept = await fromCache(source.url);
    if (kept !== null) return kept;
  }
  const [file] = /** @type {[OpenSource]} */ (await openSources([source], signal, cache));
  try {
    await readModel(file, (chunk) => onChunk(file, chunk.length));
  } catch (error) {
    await file.discard();
    throw error;
  }
  const kept = file.kept() === "" ? await fromCache(source.url) : null;
  if (kept === null) throw unusable(`it is ${file.kept()}`);
  return kept;
}

/**
 * @param {Blob} blob
 * @returns {DeviceFile}
 */
function fromBlob(blob) {
  const reader = new FileReaderSync();
  const readAt = (/** @type {Uint8Array<ArrayBuffer>} */ bytes, /** @type {number} */ offset) => {
    const part = reader.readAsArrayBuffer(blob.slice(offset, offset + bytes.length));
    bytes.set(new Uint8Array(part));
    return part.byteLength;
  };
  return { size: blob.size, readAt };
}

/**
 * @param {string} url
 * @returns {Promise<DeviceFile | null>} null: the cache does not have all of it
 */
async function fromCache(url) {
  const entry = await CacheEntry.open(url);
  if (typeof entry === "string") return null;
  if (!entry.complete) {
    await entry.close();
    return null;
  }
  // stays open as long as this worker lives
  return { size: entry.bytes, readAt: (bytes, offset) => entry.readAt(bytes, offset) };
}

/** @param {string} why */
function unusable(why) {
  return new OxiLlamaError({
    code: "invalid_request",
    message:
      "a memory budget needs a model that is on this device, to be read again and again, and " +
      `${why}; give a File, or load without memoryBudget`,
  });
}
