/** Reads a stream into the same memory again and again: garbage of many chunks would stay long. */

export const CHUNK_BYTES = 1 << 20;

export class ChunkReader {
  /** @type {ReadableStreamBYOBReader | null} */
  #bytes = null;
  /** @type {ReadableStreamDefaultReader<Uint8Array> | null} */
  #any = null;
  #buffer = new ArrayBuffer(CHUNK_BYTES);

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    try {
      this.#bytes = stream.getReader({ mode: "byob" });
    } catch {
      this.#any = stream.getReader(); // not a stream of bytes, but of arrays
    }
  }

  /**
   * @returns {Promise<Uint8Array | null>} what came, until the next call; null at the end. After an
   *   error nothing more can be read.
   */
  async read() {
    if (this.#bytes === null) return (await this.#any?.read())?.value ?? null;
    const { done, value } = await this.#bytes.read(new Uint8Array(this.#buffer));
    if (done) return null;
    this.#buffer = value.buffer;
    return value;
  }

  /** @param {unknown} [reason] */
  async cancel(reason) {
    await (this.#bytes ?? this.#any)?.cancel(reason);
  }
}
