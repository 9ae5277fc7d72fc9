/**
 * A file on this device of which any part can be read synchronously: what a model with a memory
 * budget runs from.
 */

import { invalidRequest } from "../errors.js";
import { CacheEntry } from "./cache_entry.js";
import { openSources, readModel } from "./sources.js";

/** @import { KernelPool } from "../kernels/pool.js" */
/** @import { ByteSource, CacheMode } from "../protocol.js" */
/** @import { FileSource } from "./file_source.js" */

/** Bytes that are read at a time: larger pieces would leave more to the garbage collector. */
const PIECE_BYTES = 1024 * 1024;

export class RandomAccessFile {
  #readAt;
  #piece = new Uint8Array(PIECE_BYTES);

  /**
   * @param {number} size  bytes
   * @param {(bytes: Uint8Array<ArrayBuffer>, offset: number) => number} readAt  fills `bytes` and
   *   returns how many could be read
   */
  constructor(size, readAt) {
    this.#readAt = readAt;
    /** @readonly */
    this.size = size;
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
   * @param {KernelPool} pool  into whose memory the bytes are read
   * @param {number} address  in there
   * @param {number} offset
   * @param {number} bytes
   */
  readInto(pool, address, offset, bytes) {
    const view = pool.view(address, bytes);
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
      if (this.#readAt(piece, offset + at) !== piece.length) {
        throw new Error(`the model's file ends before byte ${offset + bytes}`);
      }
      write(piece, at);
    }
  }
}

/**
 * Open a model on this device. One from an address is first brought into the cache.
 *
 * @param {ByteSource} source
 * @param {AbortSignal} signal
 * @param {CacheMode} cache
 * @param {(file: FileSource, bytes: number) => void} onChunk
 * @returns {Promise<RandomAccessFile>}
 */
export async function openOnDevice(source, signal, cache, onChunk) {
  if (source.kind === "blob") return fromBlob(source.blob);
  if (source.kind === "buffer") return fromBlob(new Blob([source.buffer]));
  if (source.kind === "stream") throw unusable("it comes as a stream");
  if (cache === "use") {
    const cached = await fromCache(source.url);
    if (cached !== null) return cached;
  }
  const [file] = /** @type {[FileSource]} */ (await openSources([source], signal, cache));
  try {
    await readModel(file, (chunk) => onChunk(file, chunk.length));
  } catch (error) {
    await file.discard();
    throw error;
  }
  const cached = file.note === "" ? await fromCache(source.url) : null;
  if (cached === null) throw unusable(`it is ${file.note}`);
  return cached;
}

/** @param {Blob} blob */
function fromBlob(blob) {
  const reader = new FileReaderSync();
  return new RandomAccessFile(blob.size, (bytes, offset) => {
    const part = reader.readAsArrayBuffer(blob.slice(offset, offset + bytes.length));
    bytes.set(new Uint8Array(part));
    return part.byteLength;
  });
}

/**
 * @param {string} url
 * @returns {Promise<RandomAccessFile | null>} null: the cache does not have all of it
 */
async function fromCache(url) {
  const entry = await CacheEntry.open(url);
  if (typeof entry === "string") return null;
  if (!entry.complete) {
    await entry.close();
    return null;
  }
  // stays open as long as this worker lives
  return new RandomAccessFile(entry.bytes, (bytes, offset) => entry.readAt(bytes, offset));
}

/** @param {string} why */
function unusable(why) {
  return invalidRequest(
    "a memory budget needs a model that is on this device, where it can be read again and again, " +
      `and ${why}; give a File, or load without memoryBudget`,
  );
}
