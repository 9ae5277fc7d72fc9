/** Bytes of a model, from wherever they come, as they come. */

import { openUrl } from "./cached_url.js";
import { readStream } from "./stream_reader.js";
import { OxiLlamaError } from "../protocol.js";

/** @import { Write } from "./download.js" */
/** @import { ByteSource, CacheMode } from "../protocol.js" */

const SLICE_BYTES = 4 * 1024 * 1024;

const NOT_CACHED = {
  cached: false,
  kept: () => "not kept: it did not come from an address",
  close: async () => {},
  discard: async () => {},
};

const GGUF_MAGIC = [0x47, 0x47, 0x55, 0x46];

/**
 * @typedef {object} OpenSource
 * @property {number | null} size  bytes, where known
 * @property {number} guess  bytes, where they may be so many; 0: nobody told
 * @property {boolean} local  they are on this device
 * @property {boolean} cached  they are in the cache
 * @property {(write: Write) => Promise<number>} read  hands all bytes to `write`, each once, mostly
 *   in order; gives their number
 * @property {() => string} kept  "" once the cache has it, or why it is not kept
 * @property {() => Promise<void>} close  it is not read, or not to its end
 * @property {() => Promise<void>} discard  what the cache has of it is not worth to be kept
 */

/**
 * Start to read the files of a model.
 *
 * @param {ByteSource[]} sources
 * @param {AbortSignal} signal
 * @param {CacheMode} cache
 * @returns {Promise<OpenSource[]>}
 */
export async function openSources(sources, signal, cache) {
  const opening = sources.map((source, index) => {
    if (source.kind !== "url") return openLocal(source);
    // a connection that waits would break, and browsers allow but a few of them
    const atOnce = index === 0;
    return orNetworkError(openUrl(source.url, signal, cache, atOnce), source.url);
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
 * Hand the bytes of a GGUF file to `write`; check that it is whole.
 *
 * @param {OpenSource} source
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
 * @param {OpenSource} source
 * @returns {Promise<string>}
 */
export async function readText(source) {
  const decoder = new TextDecoder();
  let text = "";
  const reading = source.read((chunk) => {
    text += decoder.decode(chunk, { stream: true });
  });
  await orNetworkError(reading, "the tokenizer");
  return text + decoder.decode();
}

/**
 * @param {Exclude<ByteSource, {kind: "url"}>} source
 * @returns {OpenSource}
 */
function openLocal(source) {
  switch (source.kind) {
    case "stream":
      return fromStream(source.stream, source.size);
    case "blob":
      return fromStream(source.blob.stream(), source.blob.size);
    case "buffer":
      return fromBuffer(source.buffer);
  }
}

/**
 * @param {ReadableStream<Uint8Array>} stream
 * @param {number | null} size
 * @returns {OpenSource}
 */
function fromStream(stream, size) {
  const read = (/** @type {Write} */ write) => readStream(stream, write);
  return { size, guess: 0, local: true, read, ...NOT_CACHED };
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {OpenSource}
 */
function fromBuffer(buffer) {
  const size = buffer.byteLength;
  const read = async (/** @type {Write} */ write) => {
    for (let offset = 0; offset < size; offset += SLICE_BYTES) {
      await write(new Uint8Array(buffer, offset, Math.min(SLICE_BYTES, size - offset)), offset);
    }
    return size;
  };
  return { size, guess: size, local: true, read, ...NOT_CACHED };
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
      message: `the model broke off after ${received} of ${size} bytes; load it again`,
    });
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {string} what  is read
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
  const reason = error instanceof Error ? error.message : String(error);
  return new OxiLlamaError({
    code: "network",
    message:
      `cannot read ${what}: the connection failed, ` +
      `or its server does not let this page read it (${reason})`,
  });
}
