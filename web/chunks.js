/** Reads a stream into the same memory again and again: garbage of many chunks would stay long. */

export const CHUNK_BYTES = 1 << 20;

export class ChunkReader {
  /** @type {ReadableStreamBYOBReader | null} */
  #bytes = null;
  /** @type {ReadableStreamDefaultReader<Uint8Array> | null} */
  #any = null;
  /** @type {ArrayBuffer} */
  #buffer;
  /**
   * What came and was not asked for yet.
   *
   * @type {Uint8Array}
   */
  #rest = new Uint8Array();

  /**
   * @param {ReadableStream<Uint8Array>} stream
   * @param {ChunkReader | null} [former]  that is not used any more: its memory is
   */
  constructor(stream, former = null) {
    /** @type {ArrayBuffer | null} */
    const buffer = former === null ? null : former.#buffer;
    this.#buffer = buffer?.byteLength === CHUNK_BYTES ? buffer : new ArrayBuffer(CHUNK_BYTES);
    try {
      this.#bytes = stream.getReader({ mode: "byob" });
    } catch {
      this.#any = stream.getReader(); // not a stream of bytes, but of arrays
    }
  }

  /**
   * @param {number} [most]  bytes
   * @returns {Promise<Uint8Array | null>} what came, until the next call; null at the end. After an
   *   error nothing more can be read.
   */
  async read(most = CHUNK_BYTES) {
    if (this.#bytes === null) return this.#readArray(most);
    const room = new Uint8Array(this.#buffer, 0, Math.min(most, CHUNK_BYTES));
    const { done, value } = await this.#bytes.read(room);
    if (done) return null;
    this.#buffer = value.buffer;
    return value;
  }

  /** @param {number} most */
  async #readArray(most) {
    if (this.#rest.length === 0) {
      const value = (await this.#any?.read())?.value;
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
    await (this.#bytes ?? this.#any)?.cancel(reason);
  }
}
