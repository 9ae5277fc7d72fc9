/**
 * Models that are kept on this device, in the origin-private file system: for each address a file
 * of bytes, NAME, and a record of what it holds, NAME.json. Only a worker writes bytes
 * (cache_entry.js); a page may list and delete them.
 */

import { ask, fileNames } from "./opfs.js";
import { OxiLlamaError } from "../protocol.js";

const MODELS = "oxillama";
const FORMAT = 2;
/** The bytes that one checksum is of. */
export const BLOCK_BYTES = 2 << 20;
/**
 * How long to wait for another tab, which reads or writes the same model. In steps: Python's start
 * holds a worker up, and a single timer that ran out by then would come before the lock.
 */
const PATIENCE_STEPS = 10;
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
 * @property {string[]} checksums  XXH64 of each block of BLOCK_BYTES, the last one of the rest
 * @property {number} [uses]  of a file of this package: how many starts it was part of
 *
 * @typedef {object} CachedFile
 * @property {string} url
 * @property {number} bytes  on this device
 * @property {number | null} size  bytes of the whole file, where known
 * @property {boolean} complete  false: a download that broke off, and goes on from there
 * @property {Date} savedAt
 *
 * @typedef {object} CacheUsage
 * @property {number} files
 * @property {number} bytes  of them all
 * @property {number | null} available  bytes that the browser says it would still give; some say
 *   more than they do, some nothing (null)
 */

/** Models on this device; `OxiLlama.cache`. */
export const cache = {
  /** @returns {Promise<CachedFile[]>} the newest first; what cannot be read is deleted */
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
    const release = await hold(name, "exclusive");
    if (release === null) throw inUse(String(url));
    try {
      return await removeFiles(folder, name);
    } finally {
      release();
    }
  },

  /** Delete all that no one uses at this moment. */
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
 * @returns {Promise<FileSystemDirectoryHandle | null>} null: this page cannot keep anything
 */
export async function openFolder(name = MODELS) {
  try {
    if (navigator.locks === undefined) return null; // not a secure context
    const root = await navigator.storage.getDirectory();
    return await ask(root, () => root.getDirectoryHandle(name, { create: true }));
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
 * @returns {Promise<CacheRecord | null>} null: there is none, or none that makes sense
 */
export async function readRecord(folder, name) {
  try {
    const handle = await ask(folder, () => folder.getFileHandle(`${name}.json`));
    const file = await ask(handle, () => handle.getFile());
    const record = JSON.parse(await file.text());
    return isSound(record) ? record : null;
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
  const handle = await ask(folder, () => folder.getFileHandle(`${name}.json`, { create: true }));
  if ("createWritable" in handle) {
    const stream = await ask(handle, () => handle.createWritable()); // all of it, or nothing
    await stream.write(text);
    await stream.close();
    return;
  }
  const file = await ask(handle, () => /** @type {any} */ (handle).createSyncAccessHandle());
  file.truncate(0);
  file.write(new TextEncoder().encode(text), { at: 0 });
  file.close();
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @returns {Promise<boolean>} whether there was something
 */
export async function removeFiles(folder, name) {
  const remove = (/** @type {string} */ file) => ask(folder, () => folder.removeEntry(file));
  const removed = await Promise.all(
    [`${name}.json`, name].map((file) => remove(file).then(() => true, () => false)),
  );
  return removed.includes(true);
}

/**
 * Keep other tabs away from an entry.
 *
 * @param {string} name
 * @param {LockMode} mode
 * @returns {Promise<(() => void) | null>} what ends it; null: another tab is there
 */
export function hold(name, mode) {
  return new Promise((resolve) => {
    const patience = new AbortController();
    let steps = 0;
    const timer = setInterval(() => {
      steps += 1;
      if (steps === PATIENCE_STEPS) patience.abort();
    }, STEP_MS);
    const held = () => {
      clearInterval(timer); // Chromium would take the lock away
      return new Promise((release) => resolve(() => release(undefined)));
    };
    const options = { mode, signal: patience.signal };
    navigator.locks.request(`oxillama:${name}`, options, held).catch(() => {
      clearInterval(timer);
      resolve(null);
    });
  });
}

/**
 * Of all that is in a folder, records without bytes and bytes without a record too.
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
  const release = await hold(name, "exclusive");
  if (release === null) return;
  await removeFiles(folder, name);
  release();
}

/** @param {any} record */
function isSound(record) {
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
    message: `${url} is being loaded, here or in another tab; try again when that is over`,
  });
}
