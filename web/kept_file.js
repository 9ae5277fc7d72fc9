/** A file of this package that is kept on the device in the form in which it is needed. */

import { entryName, entryNames, openFolder, removeFiles } from "./cache.js";
import { CacheEntry } from "./cache_entry.js";

const FOLDER = "oxillama-runtime";
const NOT_KNOWN = { size: null, etag: null, lastModified: null };

export class KeptFile {
  #url;
  #make;
  /** @type {CacheEntry | null} not complete yet */
  #entry = null;
  /** @type {Uint8Array | null} what it will hold */
  #bytes = null;

  /**
   * @param {string} url  its name: another version has another one
   * @param {() => Promise<ArrayBuffer>} make
   */
  constructor(url, make) {
    this.#url = url;
    this.#make = make;
  }

  /** @returns {Promise<ArrayBuffer>} from the device if it is there */
  async read() {
    const entry = await CacheEntry.open(this.#url, FOLDER);
    if (typeof entry === "string") return this.#make();
    if (entry.complete) {
      const bytes = new Uint8Array(entry.bytes);
      const good = await entry.read((chunk, offset) => bytes.set(chunk, offset));
      if (good === bytes.length) {
        await entry.close();
        return bytes.buffer;
      }
    }
    this.#entry = entry;
    const buffer = await this.#make();
    this.#bytes = new Uint8Array(buffer);
    return buffer;
  }

  /** Keep what was made, and no other version of it. */
  async keep() {
    const [entry, bytes] = [this.#entry, this.#bytes];
    if (entry === null || bytes === null) return;
    this.#entry = this.#bytes = null;
    await removeOthers(await entryName(this.#url));
    await entry.begin(NOT_KNOWN);
    await entry.write(bytes, 0);
    await entry.finish(bytes.length);
  }
}

/** @param {string} kept */
async function removeOthers(kept) {
  const folder = await openFolder(FOLDER);
  if (folder === null) return;
  for (const name of await entryNames(folder)) if (name !== kept) await removeFiles(folder, name);
}
