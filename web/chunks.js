/** Reads a stream without leaving garbage, of which many chunks' worth would stay long. */

export const CHUNK_BYTES = 1 << 20;

const nowhere = closedPort();

export class ChunkReader {
  /** @type {ReadableStreamBYOBReader | null} */
  #bytes = null;
  /** @type {ReadableStreamDefaultReader<Uint8Array> | null} */
  #any = null;
  /**
   * A stream of bytes is read into the same memory again and again.
   *
   * @type {ArrayBuffer}
   */
  #buffer;
  /**
   * Of any other stream: what came and was not asked for yet.
   *
   * @type {Uint8Array}
   */
  #rest = new Uint8Array();

  /**
   * @param {ReadableStream<Uint8Array>} stream
   * @param {ChunkReader | null} [former]  that is not used any more: its memory is
   */
  constructor(stream, former = null) {
    this.#buffer = former === null ? new ArrayBuffer() : former.#buffer;
    try {
      this.#bytes = stream.getReader({ mode: "byob" });
      if (this.#buffer.byteLength < CHUNK_BYTES) this.#buffer = new ArrayBuffer(CHUNK_BYTES);
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
      discard(this.#rest);
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

/**
 * A Blob's bytes. Piped, it is no stream of bytes: Chromium never ends the byte reads of a Blob.
 *
 * @param {Blob} blob
 * @returns {ReadableStream<Uint8Array>}
 */
export function streamOf(blob) {
  return blob.stream().pipeThrough(new TransformStream());
}

/**
 * Have a chunk's memory freed at once: moved to another thread, it is nobody's when none is there.
 *
 * @param {Uint8Array} chunk  nobody else has its buffer
 */
function discard({ buffer }) {
  // what is shared cannot be moved
  if (buffer instanceof ArrayBuffer) nowhere.postMessage(null, [buffer]);
}

function closedPort() {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  return port1;
}
