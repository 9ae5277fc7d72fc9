/**
 * Models that are kept on this device, in the origin-private file system. Each address has a file
 * of bytes, NAME, and a record of what it holds, NAME.json. Only a worker writes the bytes
 * (cache_entry.js); a page may list and delete them.
 */

import { OxiLlamaError } from "../errors.js";
import { fileNames, withHandle } from "./opfs.js";

const MODELS = "oxillama";
const FORMAT = 2;
/** Each checksum is of this many bytes. */
export const BLOCK_BYTES = 2 << 20;
/**
 * How long to wait for another tab that reads or writes the same model. It is counted in steps:
 * Python's start blocks the worker, after which a single timer would fire before the lock is seen.
 */
const LOCK_TIMEOUT_STEPS = 10;
const STEP_MS = 50;

/**
 * @typedef {object} CacheRecord
 * @property {number} format  of this record
 * @property {string} url
 * @property {number | null} size  bytes of the whole file; null: not known yet
 * @property {string | null} etag
 * @property {string | null} lastModified
 * @property {boolean} complete
 * @property {number} savedAt  milliseconds since 1970
 * @property {string[]} checksums  XXH64 of each block of BLOCK_BYTES; the last one may be shorter
 * @property {number} [uses]  of a file of this package: how many starts it was part of
 *
 * @typedef {object} CachedFile
 * @property {string} url
 * @property {number} bytes  on this device
 * @property {number | null} size  bytes of the whole file, where known
 * @property {boolean} complete  false: the download was interrupted, and resumes from there
 * @property {Date} savedAt
 *
 * @typedef {object} CacheUsage
 * @property {number} files
 * @property {number} bytes  of all of them
 * @property {number | null} available  bytes that the browser says are left; some promise more
 *   than they give, some say nothing (null)
 */

/** The models on this device; `OxiLlama.cache`. */
export const cache = {
  /** @returns {Promise<CachedFile[]>} newest first; a file that cannot be read is deleted */
  async list() {
    const folder = await openFolder();
    if (folder === null) return [];
    const files = [];
    for (const name of await recordNames(folder)) {
      const record = await readRecord(folder, name);
      if (record === null) await removeUnused(folder, name);
      else files.push(toCachedFile(record));
    }
    return files.sort((one, other) => other.savedAt.getTime() - one.savedAt.getTime());
  },

  /**
   * @param {string | URL} url  the address of a file
   * @returns {Promise<boolean>} whether there was one
   */
  async delete(url) {
    const folder = await openFolder();
    if (folder === null) return false;
    const name = await entryName(new URL(url, document.baseURI).href);
    const release = await acquireLock(name, "exclusive");
    if (release === null) throw inUse(String(url));
    try {
      return await removeFiles(folder, name);
    } finally {
      release();
    }
  },

  /** Delete all files that are not in use at this moment. */
  async clear() {
    const folder = await openFolder();
    if (folder === null) return;
    for (const name of await entryNames(folder)) await removeUnused(folder, name);
  },

  /** @returns {Promise<CacheUsage>} */
  async usage() {
    const files = await this.list();
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    return { files: files.length, bytes, available: await availableBytes() };
  },
};

/**
 * @param {string} [name]
 * @returns {Promise<FileSystemDirectoryHandle | null>} null: this page cannot keep files
 */
export async function openFolder(name = MODELS) {
  try {
    if (navigator.locks === undefined) return null; // not a secure context
    const root = await navigator.storage.getDirectory();
    return await withHandle(root, () => root.getDirectoryHandle(name, { create: true }));
  } catch {
    return null; // storage is switched off
  }
}

/**
 * @param {string} url
 * @returns {Promise<string>}
 */
export async function entryName(url) {
  const bytes = new TextEncoder().encode(url.replace(/#.*$/, ""));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes), 0, 16);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @returns {Promise<CacheRecord | null>} null: there is none, or it is damaged
 */
export async function readRecord(folder, name) {
  try {
    const handle = await withHandle(folder, () => folder.getFileHandle(`${name}.json`));
    const file = await withHandle(handle, () => handle.getFile());
    const record = JSON.parse(await file.text());
    return isValid(record) ? record : null;
  } catch {
    return null;
  }
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @param {Omit<CacheRecord, "format" | "savedAt">} record
 */
export async function writeRecord(folder, name, record) {
  const text = JSON.stringify({ format: FORMAT, savedAt: Date.now(), ...record });
  const create = () => folder.getFileHandle(`${name}.json`, { create: true });
  const handle = await withHandle(folder, create);
  if ("createWritable" in handle) {
    const stream = await withHandle(handle, () => handle.createWritable()); // all of it, or nothing
    await stream.write(text);
    await stream.close();
    return;
  }
  const file = await withHandle(handle, () => /** @type {any} */ (handle).createSyncAccessHandle());
  file.truncate(0);
  file.write(new TextEncoder().encode(text), { at: 0 });
  file.close();
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @returns {Promise<boolean>} whether there were any
 */
export async function removeFiles(folder, name) {
  const remove = async (/** @type {string} */ file) => {
    try {
      await withHandle(folder, () => folder.removeEntry(file));
      return true;
    } catch {
      return false; // there is none
    }
  };
  return (await Promise.all([`${name}.json`, name].map(remove))).includes(true);
}

/**
 * Lock an entry against other tabs.
 *
 * @param {string} name
 * @param {LockMode} mode
 * @returns {Promise<(() => void) | null>} releases the lock; null: another tab has it
 */
export function acquireLock(name, mode) {
  return new Promise((resolve) => {
    const timeout = new AbortController();
    let steps = 0;
    const timer = setInterval(() => {
      steps += 1;
      if (steps === LOCK_TIMEOUT_STEPS) timeout.abort();
    }, STEP_MS);
    const held = () => {
      clearInterval(timer); // a later abort would make Chromium take the lock away
      return new Promise((release) => resolve(() => release(undefined)));
    };
    const options = { mode, signal: timeout.signal };
    navigator.locks.request(`oxillama:${name}`, options, held).catch(() => {
      clearInterval(timer);
      resolve(null);
    });
  });
}

/**
 * Return the names of all entries, those with only bytes or only a record included.
 *
 * @param {FileSystemDirectoryHandle} folder
 */
export async function entryNames(folder) {
  const names = await fileNames(folder);
  return new Set(names.map((name) => name.replace(/\..*$/, "")));
}

/** @returns {Promise<number | null>} */
async function availableBytes() {
  try {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined || usage === undefined ? null : Math.max(quota - usage, 0);
  } catch {
    return null;
  }
}

/** @param {FileSystemDirectoryHandle} folder */
async function recordNames(folder) {
  const names = await fileNames(folder);
  return names
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -".json".length));
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 */
async function removeUnused(folder, name) {
  const release = await acquireLock(name, "exclusive");
  if (release === null) return;
  await removeFiles(folder, name);
  release();
}

/** @param {any} record */
function isValid(record) {
  const { format, url, size, complete, checksums } = record;
  if (format !== FORMAT || typeof url !== "string" || !Array.isArray(checksums)) return false;
  if (size !== null && !(Number.isSafeInteger(size) && size > 0)) return false;
  return !complete || (size !== null && checksums.length === Math.ceil(size / BLOCK_BYTES));
}

/** @param {CacheRecord} record */
function toCachedFile({ url, size, complete, savedAt, checksums }) {
  const bytes = complete ? Number(size) : checksums.length * BLOCK_BYTES;
  return { url, bytes, size, complete, savedAt: new Date(savedAt) };
}

/** @param {string} url */
function inUse(url) {
  return new OxiLlamaError({
    code: "busy",
    message: `${url} is in use, here or in another tab; try again when it is not`,
  });
}
