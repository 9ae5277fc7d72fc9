/** Reads a stream and frees its chunks at once: the garbage collector would leave many of them. */

/** The worker looks at its messages between two chunks. */
const MAX_CHUNK_BYTES = 1 << 20;

const closedPort = makeClosedPort();

export class StreamReader {
  #reader;
  /**
   * The last chunk.
   *
   * @type {Uint8Array}
   */
  #chunk = new Uint8Array();
  /** Bytes of it that were returned. */
  #used = 0;

  /** @param {ReadableStream<Uint8Array>} stream  its chunks have buffers of their own */
  constructor(stream) {
    this.#reader = stream.getReader();
  }

  /**
   * @param {number} [maxBytes]
   * @returns {Promise<Uint8Array | null>} the next bytes, valid until the next call; null at the
   *   end. After an error nothing more can be read.
   */
  async read(maxBytes = MAX_CHUNK_BYTES) {
    if (this.#used === this.#chunk.length) {
      free(this.#chunk);
      const { value } = await this.#reader.read();
      [this.#chunk, this.#used] = [value ?? new Uint8Array(), 0];
      if (value === undefined) return null;
      if (!(value instanceof Uint8Array)) throw new TypeError("the stream must be of Uint8Array");
    }
    const end = this.#used + Math.min(maxBytes, MAX_CHUNK_BYTES);
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
 * Hand all of a stream to `write`, which must not keep a reference to the chunks.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {(chunk: Uint8Array, offset: number) => unknown} write
 * @returns {Promise<number>} bytes
 */
export async function readStream(stream, write) {
  const reader = new StreamReader(stream);
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
 * Free a chunk's memory at once, by a transfer through a closed port. (In Chromium, a buffer that
 * `transfer` resizes waits for the garbage collector.)
 *
 * @param {Uint8Array} chunk
 */
function free({ buffer }) {
  // a shared buffer cannot be transferred, nor can one twice
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength === 0) return;
  closedPort.postMessage(null, [buffer]);
}

function makeClosedPort() {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  return port1;
}
