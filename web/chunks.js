/**
 * Reads a stream and gives each chunk's memory back as soon as it is used: a garbage collector
 * takes tens of megabytes of chunks for little, and lets them stay.
 */
export class ChunkReader {
  #reader;
  /**
   * What came and was not asked for yet.
   *
   * @type {Uint8Array}
   */
  #rest = new Uint8Array();

  /** @param {ReadableStream<Uint8Array>} stream  whose chunks nobody else uses */
  constructor(stream) {
    this.#reader = stream.getReader();
  }

  /**
   * @param {number} [most]  bytes
   * @returns {Promise<Uint8Array | null>} what came, until the next call; null at the end. After an
   *   error nothing more can be read.
   */
  async read(most = Infinity) {
    if (this.#rest.length === 0) {
      free(this.#rest);
      const { value } = await this.#reader.read();
      if (value === undefined) return null;
      if (!(value instanceof Uint8Array)) throw new TypeError("the stream must be of Uint8Array");
      this.#rest = value;
    }
    const chunk = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(chunk.length);
    return chunk;
  }

  /** @param {unknown} [reason] */
  async cancel(reason) {
    free(this.#rest);
    await this.#reader.cancel(reason);
  }
}

/** @param {Uint8Array} chunk  older browsers keep it until they collect garbage */
function free({ buffer }) {
  /** @type {any} */ (buffer).transfer?.(0);
}
