/** A file from the cache, or from its server and into the cache on the way. */

import { CacheEntry } from "./cache_entry.js";
import { Download, isSame, serverIdentity } from "./download.js";
import { OxiLlamaError } from "../protocol.js";

/** @import { Write } from "./download.js" */
/** @import { CacheMode } from "../protocol.js" */
/** @import { OpenSource } from "./sources.js" */

const CHECK_MS = 5000;

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @param {CacheMode} mode
 * @param {boolean} atOnce  its bytes will be read at once
 * @returns {Promise<OpenSource>}
 */
export async function openUrl(url, signal, mode, atOnce) {
  const entry = mode === "off" ? "not kept: that was asked for" : await CacheEntry.open(url);
  if (typeof entry === "string") return fromServer(await Download.open(url, signal), atOnce, entry);
  try {
    if (entry.complete && (mode === "use" || (await isCurrent(url, entry, signal)))) {
      return fromCache(url, entry, signal);
    }
    return await throughCache(url, entry, signal, atOnce);
  } catch (error) {
    await entry.close();
    throw error;
  }
}

/**
 * @param {Download} download
 * @param {boolean} atOnce
 * @param {string} note
 * @returns {OpenSource}
 */
function fromServer(download, atOnce, note) {
  if (!atOnce) download.suspend();
  const { size, identity } = download;
  return {
    size,
    guess: identity.size ?? 0,
    local: false,
    cached: false,
    read: (write) => download.read(write),
    kept: () => note,
    close: async () => download.suspend(),
    discard: async () => {},
  };
}

/**
 * @param {string} url
 * @param {CacheEntry} entry  all of it
 * @param {AbortSignal} signal
 * @returns {OpenSource}
 */
function fromCache(url, entry, signal) {
  const { size } = entry.identity;
  const read = async (/** @type {Write} */ write) => {
    const good = await entry.read(write);
    if (good < Number(size)) await repair(url, entry, good, signal, write);
    return Number(size);
  };
  return {
    size,
    guess: Number(size),
    local: true,
    cached: true,
    read: closing(entry, read),
    kept: () => entry.note,
    close: () => entry.close(),
    discard: async () => {}, // it was fine when it was put there
  };
}

/**
 * A part of the cached file is damaged: it comes again, and what follows it.
 *
 * @param {string} url
 * @param {CacheEntry} entry
 * @param {number} good  bytes of it
 * @param {AbortSignal} signal
 * @param {Write} write
 */
async function repair(url, entry, good, signal, write) {
  const { identity } = entry;
  await entry.cut(good);
  const download = await Download.open(url, signal, good, identity);
  if (download.start !== good || (good === 0 && !isSame(download.identity, identity))) {
    download.suspend();
    await entry.begin(download.identity);
    throw new OxiLlamaError({
      code: "network",
      message:
        "the model on this device was damaged and is deleted, and its server has another " +
        "version by now: load it again",
    });
  }
  await downloadInto(entry, download, write);
}

/**
 * @param {string} url
 * @param {CacheEntry} entry  a part of the file, or nothing yet
 * @param {AbortSignal} signal
 * @param {boolean} atOnce
 * @returns {Promise<OpenSource>}
 */
async function throughCache(url, entry, signal, atOnce) {
  const start = entry.complete ? 0 : entry.bytes;
  const expected = start > 0 ? entry.identity : null;
  const download = await Download.open(url, signal, start, expected, "no-store");
  if (download.start === 0) await entry.begin(download.identity);
  if (!atOnce) download.suspend();
  const read = async (/** @type {Write} */ write) => {
    if (download.start > 0) {
      const good = await entry.read(write);
      if (good < download.start) {
        await entry.cut(good);
        download.startAt(good);
      }
    }
    return downloadInto(entry, download, write);
  };
  return {
    size: download.size,
    guess: download.identity.size ?? 0,
    local: false,
    cached: false,
    read: closing(entry, read),
    kept: () => entry.note,
    close: async () => {
      download.suspend();
      await entry.close();
    },
    discard: () => CacheEntry.discard(url),
  };
}

/**
 * @param {CacheEntry} entry
 * @param {Download} download
 * @param {Write} write
 * @returns {Promise<number>}
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
 * @param {CacheEntry} entry
 * @param {(write: Write) => Promise<number>} read
 * @returns {(write: Write) => Promise<number>} which lets go of the entry
 */
function closing(entry, read) {
  return async (write) => {
    try {
      return await read(write);
    } finally {
      await entry.close();
    }
  };
}

/**
 * @param {string} url
 * @param {CacheEntry} entry
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} false: its server has another file by now
 */
async function isCurrent(url, entry, signal) {
  try {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(CHECK_MS)]);
    const identity = await serverIdentity(url, patience);
    return identity === null || isSame(identity, entry.identity, true);
  } catch {
    return true; // the server cannot be reached, which is what a cache is for
  }
}
