/** A file whose bytes can be read once, wherever they come from. */

/** @import { Write } from "./download.js" */

export class FileSource {
  /**
   * Its bytes are on this device already.
   *
   * @type {boolean}
   */
  local = true;

  /** Its bytes come from the cache. */
  cached = false;

  /**
   * Why the cache does not keep it; "" once it does.
   *
   * @type {string}
   */
  note = "not kept: it did not come from an address";

  /**
   * @param {number | null} size  bytes; null where that is not known before the end
   * @param {number} [guess]  what the size probably is; 0: there is no telling
   */
  constructor(size, guess = size ?? 0) {
    /** @readonly */
    this.size = size;
    /** @readonly */
    this.guess = guess;
  }

  /**
   * Hand all bytes to `write`, each once, mostly in order.
   *
   * @abstract
   * @param {Write} write
   * @returns {Promise<number>} how many they were
   */
  read(write) {
    throw new Error(`read(${write}) is missing`);
  }

  /** Let go of what is open: the file is not read, or not to its end. */
  async close() {}

  /** As `close`; what the cache has of the file is worthless, and is deleted. */
  async discard() {
    await this.close();
  }
}
