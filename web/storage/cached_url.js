/** A file from an address: from the cache, or from its server and into the cache on the way. */

import { OxiLlamaError } from "../errors.js";
import { CacheEntry } from "./cache_entry.js";
import { Download, fetchVersion, isSameVersion } from "./download.js";
import { FileSource } from "./file_source.js";

/** @import { CacheMode } from "../protocol.js" */
/** @import { Write } from "./download.js" */

const CHECK_TIMEOUT_MS = 5000;

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @param {CacheMode} mode
 * @param {boolean} readsAtOnce  false: its connection is closed until the bytes are read
 * @returns {Promise<FileSource>}
 */
export async function openUrl(url, signal, mode, readsAtOnce) {
  const entry = mode === "off" ? "not kept: cache is \"off\"" : await CacheEntry.open(url);
  if (typeof entry === "string") {
    const download = await Download.open(url, signal);
    if (!readsAtOnce) download.suspend();
    return new ServerSource(download, entry);
  }
  try {
    if (entry.complete && (mode === "use" || (await isCurrent(url, entry, signal)))) {
      return new CacheSource(url, entry, signal);
    }
    const start = entry.complete ? 0 : entry.bytes;
    const expected = start > 0 ? entry.version : null;
    const download = await Download.open(url, signal, start, expected, "no-store");
    if (download.start === 0) await entry.begin(download.version);
    if (!readsAtOnce) download.suspend();
    return new CachingSource(url, entry, download);
  } catch (error) {
    await entry.close();
    throw error;
  }
}

/** A file that is downloaded and not kept. */
class ServerSource extends FileSource {
  #download;

  /**
   * @param {Download} download
   * @param {string} note  why it is not kept
   */
  constructor(download, note) {
    super(download.size, download.version.size ?? 0);
    this.#download = download;
    this.local = false;
    this.note = note;
  }

  /**
   * @override
   * @param {Write} write
   */
  read(write) {
    return this.#download.read(write);
  }

  /** @override */
  async close() {
    this.#download.suspend();
  }
}

/** A complete file in the cache. */
class CacheSource extends FileSource {
  #url;
  #entry;
  #signal;

  /**
   * @param {string} url
   * @param {CacheEntry} entry
   * @param {AbortSignal} signal
   */
  constructor(url, entry, signal) {
    super(entry.bytes);
    this.#url = url;
    this.#entry = entry;
    this.#signal = signal;
    this.cached = true;
    this.note = "";
  }

  /**
   * @override
   * @param {Write} write
   */
  async read(write) {
    try {
      const good = await this.#entry.read(write);
      if (good < this.guess) await this.#repair(good, write);
      return this.guess;
    } finally {
      await this.close();
    }
  }

  /** @override */
  async close() {
    await this.#entry.close();
    this.note = this.#entry.note;
  }

  /**
   * Download the file again from the first damaged block on.
   *
   * @param {number} good  bytes before that
   * @param {Write} write
   */
  async #repair(good, write) {
    const [entry, { version }] = [this.#entry, this.#entry];
    await entry.truncate(good);
    const download = await Download.open(this.#url, this.#signal, good, version);
    if (download.start !== good || (good === 0 && !isSameVersion(download.version, version))) {
      download.suspend();
      await entry.begin(download.version);
      throw new OxiLlamaError({
        code: "network",
        message:
          "the model on this device was damaged and is deleted, and its server has another " +
          "version by now: load it again",
      });
    }
    await downloadInto(entry, download, write);
  }
}

/** A file that is kept while it is downloaded; its beginning may be in the cache already. */
class CachingSource extends FileSource {
  #url;
  #entry;
  #download;

  /**
   * @param {string} url
   * @param {CacheEntry} entry
   * @param {Download} download
   */
  constructor(url, entry, download) {
    super(download.size, download.version.size ?? 0);
    this.#url = url;
    this.#entry = entry;
    this.#download = download;
    this.local = false;
    this.note = "";
  }

  /**
   * @override
   * @param {Write} write
   */
  async read(write) {
    const [entry, download] = [this.#entry, this.#download];
    try {
      if (download.start > 0) {
        const good = await entry.read(write);
        if (good < download.start) {
          await entry.truncate(good);
          download.startAt(good);
        }
      }
      return await downloadInto(entry, download, write);
    } finally {
      await this.close();
    }
  }

  /** @override */
  async close() {
    this.#download.suspend();
    await this.#entry.close();
    this.note = this.#entry.note;
  }

  /** @override */
  async discard() {
    await this.close();
    await CacheEntry.discard(this.#url);
  }
}

/**
 * @param {CacheEntry} entry
 * @param {Download} download
 * @param {Write} write
 * @returns {Promise<number>} bytes of the file
 */
async function downloadInto(entry, download, write) {
  const size = await download.read((chunk, offset) => {
    const taken = write(chunk, offset);
    const kept = entry.write(chunk, offset);
    return taken && kept ? Promise.all([taken, kept]).then(() => {}) : (taken ?? kept);
  });
  await entry.finish(size);
  return size;
}

/**
 * @param {string} url
 * @param {CacheEntry} entry
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} false: its server has another version by now
 */
async function isCurrent(url, entry, signal) {
  try {
    const timeout = AbortSignal.any([signal, AbortSignal.timeout(CHECK_TIMEOUT_MS)]);
    const version = await fetchVersion(url, timeout);
    return version === null || isSameVersion(version, entry.version, true);
  } catch {
    return true; // the server cannot be reached, which is what a cache is for
  }
}
