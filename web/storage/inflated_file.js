/** A gzipped file of this package that is kept on the device inflated. */

import {
  acquireLock, entryName, entryNames, openFolder, readRecord, removeFiles, writeRecord,
} from "./cache.js";
import { CacheEntry } from "./cache_entry.js";
import { readStream } from "./stream_reader.js";

const FOLDER = "oxillama-runtime";
/** The first two bytes of a gzipped file. */
const GZIP = 0x1f8b;
/** A file that claims a higher ratio is damaged; Python's memory has one of 4. */
const MAX_RATIO = 20;
/** No more are counted. */
const MAX_USES = 10;
const NO_VERSION = { size: null, etag: null, lastModified: null };

export class InflatedFile {
  #url;
  #fetch;
  /** @type {CacheEntry | null} to be written */
  #entry = null;
  /** @type {Blob | null} its gzipped content, held by the browser outside of this page's memory */
  #fetched = null;

  /**
   * @param {string} url  another version has another one
   * @param {() => Promise<Blob>} fetch
   */
  constructor(url, fetch) {
    this.#url = url;
    this.#fetch = fetch;
  }

  /** @returns {Promise<ArrayBuffer>} its bytes, from the device if they are there */
  async read() {
    const entry = await CacheEntry.open(this.#url, FOLDER);
    if (typeof entry !== "string" && entry.complete) {
      const bytes = new Uint8Array(entry.bytes);
      const good = await entry.read((chunk, offset) => bytes.set(chunk, offset));
      if (good === bytes.length) {
        await entry.close();
        return bytes.buffer;
      }
    }
    const fetched = await this.#fetch();
    if (typeof entry !== "string") [this.#entry, this.#fetched] = [entry, fetched];
    const bytes = new Uint8Array(await sizeOf(fetched));
    const size = await inflate(fetched, (chunk, offset) => bytes.set(chunk, offset));
    if (size !== bytes.length) throw new Error(`${this.#url} is damaged`);
    return bytes.buffer;
  }

  /**
   * Keep the inflated file, and delete all other versions of it.
   *
   * @returns {Promise<number>} how many starts have used it; 0: it cannot be kept
   */
  async keep() {
    await this.#write();
    return this.#countUse();
  }

  async #write() {
    const [entry, fetched] = [this.#entry, this.#fetched];
    if (entry === null || fetched === null) return;
    this.#entry = this.#fetched = null;
    await removeOthers(await entryName(this.#url));
    await entry.begin(NO_VERSION);
    await entry.finish(await inflate(fetched, (chunk, offset) => entry.write(chunk, offset)));
  }

  async #countUse() {
    const folder = await openFolder(FOLDER);
    if (folder === null) return 0;
    const name = await entryName(this.#url);
    const release = await acquireLock(name, "exclusive");
    if (release === null) return 0;
    try {
      const record = await readRecord(folder, name);
      if (record === null || !record.complete) return 0;
      const uses = (record.uses ?? 0) + 1;
      if (uses <= MAX_USES) await writeRecord(folder, name, { ...record, uses });
      return uses;
    } finally {
      release();
    }
  }
}

/**
 * Inflate a file chunk by chunk: Response.arrayBuffer() would leave a second copy of the whole file
 * to the garbage collector.
 *
 * @param {Blob} file
 * @param {(chunk: Uint8Array, offset: number) => unknown} write
 * @returns {Promise<number>} bytes
 */
async function inflate(file, write) {
  const inflated = (await isGzipped(file))
    ? file.stream().pipeThrough(new DecompressionStream("gzip"))
    : file.stream();
  return readStream(inflated, write);
}

/**
 * @param {Blob} file
 * @returns {Promise<number>} bytes that it inflates to, from its last four bytes (RFC 1952)
 */
async function sizeOf(file) {
  if (!(await isGzipped(file))) return file.size;
  const end = new DataView(await file.slice(-4).arrayBuffer());
  const size = end.byteLength < 4 ? 0 : end.getUint32(0, true);
  if (size > MAX_RATIO * file.size) throw new Error("a gzipped file is damaged");
  return size;
}

/**
 * @param {Blob} file
 * @returns {Promise<boolean>} false: its host takes ".gz" for an encoding, and the browser has
 *   inflated the file already
 */
async function isGzipped(file) {
  const start = new DataView(await file.slice(0, 2).arrayBuffer());
  return start.byteLength === 2 && start.getUint16(0) === GZIP;
}

/** @param {string} kept */
async function removeOthers(kept) {
  const folder = await openFolder(FOLDER);
  if (folder === null) return;
  for (const name of await entryNames(folder)) if (name !== kept) await removeFiles(folder, name);
}
