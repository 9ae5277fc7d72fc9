/** One file of the cache, in a worker: read with its checksums, or written while it comes. */

import {
  BLOCK_BYTES, entryName, hold, openFolder, readRecord, removeFiles, writeRecord,
} from "./cache.js";
import { Checksum } from "./checksum.js";
import { ask } from "./opfs.js";
import { yieldToMessages } from "../worker/yield.js";

/** @import { CacheRecord } from "./cache.js" */
/** @import { Identity, Write } from "./download.js" */

/** The record is brought up to date so often: what came since then a tab that is closed loses. */
const BLOCKS_A_RECORD = 8;
const RECORD_MS = 500;
/** Messages are let in after so many blocks are read. */
const BLOCKS_A_TURN = 16;
/** The browser may take a moment to free the files of a worker that was ended. */
const OPEN_ATTEMPTS = 10;
const OPEN_PAUSE_MS = 50;

/**
 * @typedef {object} AccessHandle  FileSystemSyncAccessHandle, as far as it is used here
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
  /** @type {Map<number, Block>} blocks that are not whole yet, by number */
  #blocks = new Map();
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #spare = [];
  /** @type {Promise<void>} */
  #saving = Promise.resolve();
  #recorded = 0;
  #recordedAt = performance.now();
  #writable;

  /** Why the file is not kept; "" where it is. */
  note = "";

  /**
   * @param {Checksum} checksum
   * @param {FileSystemDirectoryHandle} folder
   * @param {string} name
   * @param {() => void} release  other tabs may have it then
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
   * What is here of a file: all of it, a part, or nothing yet.
   *
   * @param {string} url
   * @param {string} [folderName]
   * @returns {Promise<CacheEntry | string>} or why nothing can be kept
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
   * Forget a file, unless another tab is at it.
   *
   * @param {string} url
   */
  static async discard(url) {
    const folder = await openFolder();
    if (folder === null) return;
    const name = await entryName(url);
    const release = await hold(name, "exclusive");
    if (release === null) return;
    await removeFiles(folder, name);
    release();
  }

  get complete() {
    return this.#record.complete;
  }

  /** Bytes that are here, from the file's beginning. */
  get bytes() {
    const { complete, size, checksums } = this.#record;
    return complete && size !== null ? size : checksums.length * BLOCK_BYTES;
  }

  /** @returns {Identity} */
  get identity() {
    const { size, etag, lastModified } = this.#record;
    return { size, etag, lastModified };
  }

  /**
   * A part of a complete file, at once and unchecked.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes  where it goes
   * @param {number} offset
   * @returns {number} bytes that were read
   */
  readAt(bytes, offset) {
    return this.#file?.read(bytes, { at: offset }) ?? 0;
  }

  /**
   * Hand what is here to `write`, as long as its checksums are right.
   *
   * @param {Write} write
   * @returns {Promise<number>} bytes that were; the rest is damaged
   */
  async read(write) {
    const total = this.bytes;
    const { checksums } = this.#record;
    for (const [index, expected] of checksums.entries()) {
      const offset = index * BLOCK_BYTES;
      const bytes = this.#checksum.room.subarray(0, Math.min(BLOCK_BYTES, total - offset));
      if (!this.#fill(bytes, offset) || this.#checksum.of(bytes) !== expected) return offset;
      await write(bytes, offset);
      if (index % BLOCKS_A_TURN === BLOCKS_A_TURN - 1) await yieldToMessages();
    }
    return total;
  }

  /**
   * Make ready to keep another file, or another version of it.
   *
   * @param {Identity} identity
   */
  async begin(identity) {
    this.#record = { ...this.#record, ...identity, complete: false, checksums: [] };
    await this.#change(0);
  }

  /**
   * Keep only the first bytes; the rest is damaged, and comes again.
   *
   * @param {number} bytes  a multiple of BLOCK_BYTES
   */
  async cut(bytes) {
    const checksums = this.#record.checksums.slice(0, bytes / BLOCK_BYTES);
    this.#record = { ...this.#record, complete: false, checksums };
    await this.#change(bytes);
  }

  /**
   * Keep bytes that came.
   *
   * @param {Uint8Array} chunk
   * @param {number} offset
   * @returns {Promise<void> | undefined} to be awaited where more would be too much
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
      const failing = this.#keep(index, block);
      if (failing) return failing;
    }
    const news = this.#whole() - this.#recorded;
    const isDue = performance.now() - this.#recordedAt > RECORD_MS;
    if (news >= BLOCKS_A_RECORD || (news > 0 && isDue)) void this.#attempt(() => this.#save());
    return undefined;
  }

  /**
   * All has come.
   *
   * @param {number} size  bytes
   */
  async finish(size) {
    const rest = [...this.#blocks][0];
    if (rest) await this.#keep(...rest);
    await this.#attempt(async (file) => {
      if (this.#whole() !== Math.ceil(size / BLOCK_BYTES)) throw new Error("blocks are missing");
      file.truncate(size);
      file.flush();
      this.#record = { ...this.#record, size, complete: true };
      await this.#save();
    });
    await this.close();
  }

  /** Let go of the file; what is here stays. */
  async close() {
    if (this.#file !== null && !this.complete) {
      if (this.#whole() === 0) await this.#giveUp("nothing came");
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
   * @returns {Promise<void> | undefined} where that failed
   */
  #keep(index, { bytes, filled }) {
    this.#blocks.delete(index);
    const part = bytes.subarray(0, filled);
    try {
      // Chromium gives a number that makes no sense where there is no more room
      const written = this.#file?.write(part, { at: index * BLOCK_BYTES });
      if (written !== filled) throw new DOMException("", "QuotaExceededError");
    } catch (error) {
      return this.#giveUp(reasonOf(error));
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
      return false; // as if it were not there
    }
  }

  /** Blocks from the beginning on without a gap. */
  #whole() {
    const { checksums } = this.#record;
    let count = Math.min(this.#recorded, checksums.length);
    while (checksums[count] !== undefined) count += 1;
    return count;
  }

  #save() {
    const count = this.#whole();
    this.#recorded = count;
    this.#recordedAt = performance.now();
    const record = { ...this.#record, checksums: this.#record.checksums.slice(0, count) };
    this.#saving = this.#saving.then(() => writeRecord(this.#folder, this.#name, record));
    return this.#saving;
  }

  /**
   * The record has changed; cut the file accordingly.
   *
   * @param {number} bytes  that stay
   */
  async #change(bytes) {
    if (!this.#writable && !(await this.#becomeWriter())) {
      return this.#giveUp("not kept: another tab uses the same file", false);
    }
    await this.#attempt(async (file) => {
      file.truncate(bytes);
      await this.#save();
    });
  }

  /** A complete file may be open for reading only, beside other tabs. */
  async #becomeWriter() {
    this.#writable = true;
    this.#file?.close();
    this.#file = null;
    this.#release();
    this.#release = () => {};
    const release = await hold(this.#name, "exclusive");
    if (release === null) return false;
    this.#release = release;
    this.#file = await openFile(this.#folder, this.#name, "readwrite");
    return this.#file !== null;
  }

  /**
   * Do something with the file; where that fails, go on without keeping it.
   *
   * @param {(file: AccessHandle) => Promise<void>} action
   */
  async #attempt(action) {
    if (this.#file === null) return;
    try {
      await action(this.#file);
    } catch (error) {
      await this.#giveUp(reasonOf(error));
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
 * @returns {Promise<CacheEntry | null>} null: it is not complete
 */
async function openComplete(checksum, folder, name) {
  const release = await hold(name, canShare() ? "shared" : "exclusive");
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
  const release = await hold(name, "exclusive");
  if (release === null) return "not kept: another tab loads the same file";
  const found = await readRecord(folder, name);
  const file = await openFile(folder, name, "readwrite");
  if (file === null) {
    release();
    return "not kept: the browser does not give this page a file";
  }
  const nothing = { url, size: null, etag: null, lastModified: null, checksums: [] };
  const record = found ?? { ...nothing, complete: false };
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
      const handle = await ask(folder, () => folder.getFileHandle(name, { create }));
      return await ask(handle, () => /** @type {any} */ (handle).createSyncAccessHandle({ mode }));
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "NoModificationAllowedError") break;
      await new Promise((resolve) => setTimeout(resolve, OPEN_PAUSE_MS));
    }
  }
  return null;
}

/** Whether several workers may read a file at the same time. */
function canShare() {
  const kind = /** @type {any} */ (globalThis).FileSystemSyncAccessHandle;
  return kind !== undefined && "mode" in kind.prototype;
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof DOMException && error.name === "QuotaExceededError") {
    return "not kept: the browser gives this page no more storage; delete other models";
  }
  return `not kept: ${error instanceof Error ? error.message : String(error)}`;
}
