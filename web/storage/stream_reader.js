/** Reads a stream without leaving garbage, of which many chunks' worth would stay long. */

/** More would keep the worker from its messages. */
const CHUNK_BYTES = 1 << 20;

const nowhere = closedPort();

export class ChunkReader {
  #reader;
  /**
   * What came last.
   *
   * @type {Uint8Array}
   */
  #chunk = new Uint8Array();
  /** How much of it was asked for. */
  #used = 0;

  /** @param {ReadableStream<Uint8Array>} stream  its chunks have buffers of their own */
  constructor(stream) {
    this.#reader = stream.getReader();
  }

  /**
   * @param {number} [most]  bytes
   * @returns {Promise<Uint8Array | null>} what came, until the next call; null at the end. After an
   *   error nothing more can be read.
   */
  async read(most = CHUNK_BYTES) {
    if (this.#used === this.#chunk.length) {
      free(this.#chunk);
      const { value } = await this.#reader.read();
      [this.#chunk, this.#used] = [value ?? new Uint8Array(), 0];
      if (value === undefined) return null;
      if (!(value instanceof Uint8Array)) throw new TypeError("the stream must be of Uint8Array");
    }
    const end = this.#used + Math.min(most, CHUNK_BYTES);
    const part = this.#chunk.subarray(this.#used, end);
    this.#used += part.length;
    return part;
  }

  /** @param {unknown} [reason] */
  async cancel(reason) {
    await this.#reader.cancel(reason);
  }
}

/**
 * Hand all of a stream to `write`, which must not keep what it gets.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {(chunk: Uint8Array, offset: number) => unknown} write
 * @returns {Promise<number>} bytes
 */
export async function readStream(stream, write) {
  const reader = new ChunkReader(stream);
  let offset = 0;
  try {
    for (let chunk = await reader.read(); chunk !== null; chunk = await reader.read()) {
      const { length } = chunk;
      await write(chunk, offset);
      offset += length;
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
  return offset;
}

/**
 * Free a chunk's memory at once: moved to another thread where there is none, it is nobody's. (What
 * is resized by `transfer` waits for the garbage collector in Chromium.)
 *
 * @param {Uint8Array} chunk
 */
function free({ buffer }) {
  // what is shared cannot be moved, and what is gone not again
  if (buffer instanceof ArrayBuffer && buffer.byteLength > 0) nowhere.postMessage(null, [buffer]);
}

function closedPort() {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  return port1;
}
