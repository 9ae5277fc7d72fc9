/** The files of a model, opened and read, wherever their bytes come from. */

import { OxiLlamaError, reasonOf } from "../errors.js";
import { openUrl } from "./cached_url.js";
import { FileSource } from "./file_source.js";
import { readStream } from "./stream_reader.js";

/** @import { ByteSource, CacheMode } from "../protocol.js" */
/** @import { Write } from "./download.js" */

const SLICE_BYTES = 4 * 1024 * 1024;
const GGUF_MAGIC = [0x47, 0x47, 0x55, 0x46];

class StreamSource extends FileSource {
  #stream;

  /**
   * @param {ReadableStream<Uint8Array>} stream
   * @param {number | null} size
   */
  constructor(stream, size) {
    super(size);
    this.#stream = stream;
  }

  /**
   * @override
   * @param {Write} write
   */
  read(write) {
    return readStream(this.#stream, write);
  }
}

class BytesSource extends FileSource {
  #buffer;

  /** @param {ArrayBuffer} buffer */
  constructor(buffer) {
    super(buffer.byteLength);
    this.#buffer = buffer;
  }

  /**
   * @override
   * @param {Write} write
   */
  async read(write) {
    const size = this.#buffer.byteLength;
    for (let offset = 0; offset < size; offset += SLICE_BYTES) {
      const slice = new Uint8Array(this.#buffer, offset, Math.min(SLICE_BYTES, size - offset));
      await write(slice, offset);
    }
    return size;
  }
}

/**
 * Open the files of a model: all of them, or none.
 *
 * @param {ByteSource[]} sources
 * @param {AbortSignal} signal
 * @param {CacheMode} cache
 * @returns {Promise<FileSource[]>}
 */
export async function openSources(sources, signal, cache) {
  const opening = sources.map((source, index) => {
    if (source.kind !== "url") return openLocal(source);
    // an idle connection would break, and browsers allow only a few
    const readsAtOnce = index === 0;
    return orNetworkError(openUrl(source.url, signal, cache, readsAtOnce), source.url);
  });
  const opened = await Promise.allSettled(opening);
  for (const { status, reason } of /** @type {PromiseRejectedResult[]} */ (opened)) {
    if (status !== "rejected") continue;
    for (const other of opened) if (other.status === "fulfilled") await other.value.close();
    throw reason;
  }
  return Promise.all(opening);
}

/**
 * Hand the bytes of a GGUF file to `write`, and check that it is complete.
 *
 * @param {FileSource} source
 * @param {Write} write
 * @returns {Promise<number>} how many bytes came
 */
export async function readModel(source, write) {
  const reading = source.read((chunk, offset) => {
    checkMagic(chunk, offset);
    return write(chunk, offset);
  });
  const received = await orNetworkError(reading, "the model");
  checkComplete(received, source.size);
  return received;
}

/**
 * @param {FileSource} source
 * @returns {Promise<Uint8Array>} all bytes of a tokenizer
 */
export async function readBytes(source) {
  let bytes = new Uint8Array(source.guess);
  const reading = source.read((chunk, offset) => {
    const end = offset + chunk.length;
    if (end > bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * bytes.length));
      grown.set(bytes);
      bytes = grown;
    }
    bytes.set(chunk, offset);
  });
  const size = await orNetworkError(reading, "the tokenizer");
  return bytes.subarray(0, size);
}

/**
 * @param {Exclude<ByteSource, {kind: "url"}>} source
 * @returns {FileSource}
 */
function openLocal(source) {
  switch (source.kind) {
    case "stream":
      return new StreamSource(source.stream, source.size);
    case "blob":
      return new StreamSource(source.blob.stream(), source.blob.size);
    case "buffer":
      return new BytesSource(source.buffer);
  }
}

/**
 * @param {Uint8Array} chunk
 * @param {number} offset
 */
function checkMagic(chunk, offset) {
  for (let i = offset; i < GGUF_MAGIC.length && i - offset < chunk.length; i++) {
    if (chunk[i - offset] !== GGUF_MAGIC[i]) {
      throw new OxiLlamaError({
        code: "not_gguf",
        message: 'this is not a GGUF model file: it does not begin with the letters "GGUF"',
      });
    }
  }
}

/**
 * @param {number} received
 * @param {number | null} size
 */
function checkComplete(received, size) {
  if (received < GGUF_MAGIC.length) {
    throw new OxiLlamaError({ code: "not_gguf", message: "the model file is empty" });
  }
  if (size !== null && received !== size) {
    throw new OxiLlamaError({
      code: "truncated",
      message: `the model ended after ${received} of ${size} bytes; load it again`,
    });
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {string} what  what is being read
 */
async function orNetworkError(promise, what) {
  try {
    return await promise;
  } catch (error) {
    throw error instanceof OxiLlamaError ? error : networkError(error, what);
  }
}

/**
 * @param {unknown} error
 * @param {string} what
 */
function networkError(error, what) {
  if (error instanceof DOMException && error.name === "AbortError") {
    return new OxiLlamaError({ code: "aborted", message: "loading was stopped" });
  }
  return new OxiLlamaError({
    code: "network",
    message:
      `cannot read ${what}: the connection failed, ` +
      `or its server does not let this page read it (${reasonOf(error)})`,
  });
}
