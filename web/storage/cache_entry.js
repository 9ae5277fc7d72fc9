/** One file of the cache, in a worker: checked while it is read, or written while it arrives. */

import { reasonOf } from "../errors.js";
import { yieldToMessages } from "../yield.js";
import {
  BLOCK_BYTES, acquireLock, entryName, openFolder, readRecord, removeFiles, writeRecord,
} from "./cache.js";
import { Checksum } from "./checksum.js";
import { withHandle } from "./opfs.js";

/** @import { CacheRecord } from "./cache.js" */
/** @import { FileVersion, Write } from "./download.js" */

/** How often the record is saved. A tab that is closed loses the blocks since then. */
const BLOCKS_PER_RECORD = 8;
const RECORD_MS = 500;
/** How many blocks are read before the worker looks at its messages. */
const BLOCKS_PER_YIELD = 16;
/** The browser may take a moment to free the files of a worker that was terminated. */
const OPEN_ATTEMPTS = 10;
const OPEN_PAUSE_MS = 50;

/**
 * @typedef {object} AccessHandle  what is used of a FileSystemSyncAccessHandle
 * @property {(buffer: Uint8Array, options: {at: number}) => number} read
 * @property {(buffer: Uint8Array, options: {at: number}) => number} write
 * @property {(size: number) => void} truncate
 * @property {() => void} flush
 * @property {() => void} close
 *
 * @typedef {{bytes: Uint8Array<ArrayBuffer>, filled: number}} Block
 */

export class CacheEntry {
  #checksum;
  #folder;
  #name;
  /** @type {() => void} */
  #release;
  /** @type {AccessHandle | null} */
  #file;
  /** @type {Omit<CacheRecord, "format" | "savedAt">} */
  #record;
  /** @type {Map<number, Block>} incomplete blocks, by number */
  #blocks = new Map();
  /** @type {Uint8Array<ArrayBuffer>[]} buffers to use again */
  #spare = [];
  /** @type {Promise<void>} */
  #saving = Promise.resolve();
  /** Blocks in the saved record. */
  #recorded = 0;
  #recordedAt = performance.now();
  #writable;

  /** Why the file is not kept; "" if it is. */
  note = "";

  /**
   * @param {Checksum} checksum
   * @param {FileSystemDirectoryHandle} folder
   * @param {string} name
   * @param {() => void} release  unlocks it for other tabs
   * @param {AccessHandle} file
   * @param {Omit<CacheRecord, "format" | "savedAt">} record
   * @param {boolean} writable
   */
  constructor(checksum, folder, name, release, file, record, writable) {
    this.#checksum = checksum;
    this.#folder = folder;
    this.#name = name;
    this.#release = release;
    this.#file = file;
    this.#record = record;
    this.#writable = writable;
    this.#recorded = record.checksums.length;
  }

  /**
   * Open the entry of a file, which may hold all of it, a part, or nothing yet.
   *
   * @param {string} url
   * @param {string} [folderName]
   * @returns {Promise<CacheEntry | string>} or the reason why the file cannot be kept
   */
  static async open(url, folderName) {
    const folder = await openFolder(folderName);
    if (folder === null) return "not kept: this page is not served securely, or storage is off";
    const checksum = await openChecksum();
    if (checksum === null) return "not kept: kernels/ox-checksum.wasm cannot be loaded";
    const name = await entryName(url);
    const kept = await openComplete(checksum, folder, name);
    return kept ?? openForWriting(checksum, folder, name, url);
  }

  /**
   * Delete the entry of a file, unless another tab uses it.
   *
   * @param {string} url
   */
  static async discard(url) {
    const folder = await openFolder();
    if (folder === null) return;
    const name = await entryName(url);
    const release = await acquireLock(name, "exclusive");
    if (release === null) return;
    await removeFiles(folder, name);
    release();
  }

  get complete() {
    return this.#record.complete;
  }

  /** How many bytes are here, from the beginning of the file. */
  get bytes() {
    const { complete, size, checksums } = this.#record;
    return complete && size !== null ? size : checksums.length * BLOCK_BYTES;
  }

  /** @returns {FileVersion} */
  get version() {
    const { size, etag, lastModified } = this.#record;
    return { size, etag, lastModified };
  }

  /**
   * Fill `bytes` from an offset of a complete file, without a check of its checksums.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @param {number} offset
   * @returns {number} how many bytes were read
   */
  readAt(bytes, offset) {
    return this.#file?.read(bytes, { at: offset }) ?? 0;
  }

  /**
   * Hand what is here to `write`, up to the first block whose checksum is wrong.
   *
   * @param {Write} write
   * @returns {Promise<number>} how many bytes were good
   */
  async read(write) {
    const total = this.bytes;
    const { checksums } = this.#record;
    for (const [index, expected] of checksums.entries()) {
      const offset = index * BLOCK_BYTES;
      const bytes = this.#checksum.scratch.subarray(0, Math.min(BLOCK_BYTES, total - offset));
      if (!this.#fill(bytes, offset) || this.#checksum.of(bytes) !== expected) return offset;
      await write(bytes, offset);
      if (index % BLOCKS_PER_YIELD === BLOCKS_PER_YIELD - 1) await yieldToMessages();
    }
    return total;
  }

  /**
   * Empty the entry for another version of the file.
   *
   * @param {FileVersion} version
   */
  async begin(version) {
    this.#record = { ...this.#record, ...version, complete: false, checksums: [] };
    await this.#truncateFile(0);
  }

  /**
   * Keep only the first bytes: the rest is damaged, and will be written again.
   *
   * @param {number} bytes  a multiple of BLOCK_BYTES
   */
  async truncate(bytes) {
    const checksums = this.#record.checksums.slice(0, bytes / BLOCK_BYTES);
    this.#record = { ...this.#record, complete: false, checksums };
    await this.#truncateFile(bytes);
  }

  /**
   * Keep bytes that arrived.
   *
   * @param {Uint8Array} chunk
   * @param {number} offset
   * @returns {Promise<void> | undefined} to wait for before the next bytes, if there is one
   */
  write(chunk, offset) {
    if (this.#file === null) return;
    for (let rest = chunk; rest.length > 0; ) {
      const [index, at] = [Math.floor(offset / BLOCK_BYTES), offset % BLOCK_BYTES];
      const block = this.#block(index);
      const part = rest.subarray(0, BLOCK_BYTES - at);
      block.bytes.set(part, at);
      block.filled += part.length;
      offset += part.length;
      rest = rest.subarray(part.length);
      if (block.filled < BLOCK_BYTES) continue;
      const failing = this.#writeBlock(index, block);
      if (failing) return failing;
    }
    const unsaved = this.#countBlocks() - this.#recorded;
    const isDue = performance.now() - this.#recordedAt > RECORD_MS;
    if (unsaved >= BLOCKS_PER_RECORD || (unsaved > 0 && isDue)) {
      void this.#attempt(() => this.#save());
    }
    return undefined;
  }

  /**
   * Close the entry: all bytes have arrived.
   *
   * @param {number} size  bytes of the file
   */
  async finish(size) {
    const rest = [...this.#blocks][0];
    if (rest) await this.#writeBlock(...rest);
    await this.#attempt(async (file) => {
      const missing = Math.ceil(size / BLOCK_BYTES) - this.#countBlocks();
      if (missing !== 0) throw new Error(`${missing} blocks are missing`);
      file.truncate(size);
      file.flush();
      this.#record = { ...this.#record, size, complete: true };
      await this.#save();
    });
    await this.close();
  }

  /** Close the file and unlock it; what is here stays. */
  async close() {
    if (this.#file !== null && !this.complete) {
      if (this.#countBlocks() === 0) await this.#giveUp("not kept: nothing arrived");
      else await this.#attempt(() => this.#save());
    }
    await this.#saving;
    this.#file?.close();
    this.#file = null;
    this.#release();
  }

  /** @param {number} index */
  #block(index) {
    let block = this.#blocks.get(index);
    if (block === undefined) {
      block = { bytes: this.#spare.pop() ?? new Uint8Array(BLOCK_BYTES), filled: 0 };
      this.#blocks.set(index, block);
    }
    return block;
  }

  /**
   * @param {number} index
   * @param {Block} block
   * @returns {Promise<void> | undefined} a promise if that failed
   */
  #writeBlock(index, { bytes, filled }) {
    this.#blocks.delete(index);
    const part = bytes.subarray(0, filled);
    try {
      // in Chromium the number makes no sense when there is no more room
      const written = this.#file?.write(part, { at: index * BLOCK_BYTES });
      if (written !== filled) throw new DOMException("", "QuotaExceededError");
    } catch (error) {
      return this.#giveUp(whyNotKept(error));
    }
    this.#record.checksums[index] = this.#checksum.of(part);
    this.#spare.push(bytes);
    return undefined;
  }

  /**
   * @param {Uint8Array} bytes
   * @param {number} offset
   */
  #fill(bytes, offset) {
    try {
      return this.#file?.read(bytes, { at: offset }) === bytes.length;
    } catch {
      return false; // as if the block were damaged
    }
  }

  /** Count the blocks from the beginning up to the first gap. */
  #countBlocks() {
    const { checksums } = this.#record;
    let count = Math.min(this.#recorded, checksums.length);
    while (checksums[count] !== undefined) count += 1;
    return count;
  }

  #save() {
    const count = this.#countBlocks();
    this.#recorded = count;
    this.#recordedAt = performance.now();
    const record = { ...this.#record, checksums: this.#record.checksums.slice(0, count) };
    this.#saving = this.#saving.then(() => writeRecord(this.#folder, this.#name, record));
    return this.#saving;
  }

  /**
   * Truncate the file and save the record, which has changed.
   *
   * @param {number} bytes  that stay
   */
  async #truncateFile(bytes) {
    if (!this.#writable && !(await this.#upgradeLock())) {
      return this.#giveUp("not kept: another tab uses the same file", false);
    }
    await this.#attempt(async (file) => {
      file.truncate(bytes);
      await this.#save();
    });
  }

  /** A complete file is open for reading only, possibly in several tabs: open it for writing. */
  async #upgradeLock() {
    this.#writable = true;
    this.#file?.close();
    this.#file = null;
    this.#release();
    this.#release = () => {};
    const release = await acquireLock(this.#name, "exclusive");
    if (release === null) return false;
    this.#release = release;
    this.#file = await openFile(this.#folder, this.#name, "readwrite");
    return this.#file !== null;
  }

  /**
   * Do something with the file. If that fails, go on without keeping it.
   *
   * @param {(file: AccessHandle) => Promise<void>} action
   */
  async #attempt(action) {
    if (this.#file === null) return;
    try {
      await action(this.#file);
    } catch (error) {
      await this.#giveUp(whyNotKept(error));
    }
  }

  /**
   * @param {string} note
   * @param {boolean} [remove]
   */
  async #giveUp(note, remove = true) {
    this.note ||= note;
    this.#blocks.clear();
    this.#file?.close();
    this.#file = null;
    await this.#saving.catch(() => {});
    this.#saving = Promise.resolve();
    if (remove) await removeFiles(this.#folder, this.#name);
  }
}

/** @returns {Promise<Checksum | null>} */
async function openChecksum() {
  try {
    return await Checksum.open(BLOCK_BYTES);
  } catch {
    return null;
  }
}

/**
 * @param {Checksum} checksum
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @returns {Promise<CacheEntry | null>} null: the file is not complete
 */
async function openComplete(checksum, folder, name) {
  const release = await acquireLock(name, canShare() ? "shared" : "exclusive");
  if (release === null) return null;
  const record = await readRecord(folder, name);
  const file = record?.complete ? await openFile(folder, name, "read-only") : null;
  if (record !== null && file !== null) {
    return new CacheEntry(checksum, folder, name, release, file, record, false);
  }
  release();
  return null;
}

/**
 * @param {Checksum} checksum
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @param {string} url
 */
async function openForWriting(checksum, folder, name, url) {
  const release = await acquireLock(name, "exclusive");
  if (release === null) return "not kept: another tab loads the same file";
  const found = await readRecord(folder, name);
  const file = await openFile(folder, name, "readwrite");
  if (file === null) {
    release();
    return "not kept: the browser does not give this page a file";
  }
  const empty = { url, size: null, etag: null, lastModified: null, checksums: [] };
  const record = found ?? { ...empty, complete: false };
  return new CacheEntry(checksum, folder, name, release, file, record, true);
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @param {"read-only" | "readwrite"} mode
 * @returns {Promise<AccessHandle | null>}
 */
async function openFile(folder, name, mode) {
  for (let attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
    try {
      const create = mode === "readwrite";
      const handle = await withHandle(folder, () => folder.getFileHandle(name, { create }));
      const open = () => /** @type {any} */ (handle).createSyncAccessHandle({ mode });
      return await withHandle(handle, open);
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "NoModificationAllowedError") break;
      await new Promise((resolve) => setTimeout(resolve, OPEN_PAUSE_MS));
    }
  }
  return null;
}

/** Return whether several workers can have the same file open. */
function canShare() {
  const kind = /** @type {any} */ (globalThis).FileSystemSyncAccessHandle;
  return kind !== undefined && "mode" in kind.prototype;
}

/** @param {unknown} error */
function whyNotKept(error) {
  if (error instanceof DOMException && error.name === "QuotaExceededError") {
    return "not kept: the browser gives this page no more storage; delete other models";
  }
  return `not kept: ${reasonOf(error)}`;
}
