/** Bytes of a model, from wherever they come, as they come. */

import { ChunkReader } from "./chunks.js";
import { download } from "./download.js";
import { OxiLlamaError } from "./protocol.js";

/** @import { ByteSource } from "./protocol.js" */

const SLICE_BYTES = 4 * 1024 * 1024;

const GGUF_MAGIC = [0x47, 0x47, 0x55, 0x46];

/**
 * @typedef {object} OpenSource
 * @property {number | null} size  bytes, where known
 * @property {ReadableStream<Uint8Array>} stream
 */

/**
 * Start to read.
 *
 * @param {ByteSource} source
 * @param {AbortSignal} signal
 * @returns {Promise<OpenSource>}
 */
export async function openSource(source, signal) {
  switch (source.kind) {
    case "url":
      return openUrl(source.url, signal);
    case "blob":
      // piped, it is no stream of bytes any more: Chromium never ends the byte reads of a Blob
      return {
        size: source.blob.size,
        stream: source.blob.stream().pipeThrough(new TransformStream()),
      };
    case "buffer":
      return { size: source.buffer.byteLength, stream: slices(source.buffer) };
  }
}

/**
 * Hand each piece of a source to `write`, in order, which must not keep it; check that it is a
 * whole GGUF file.
 *
 * @param {OpenSource} source
 * @param {(chunk: Uint8Array, offset: number) => void} write
 * @returns {Promise<number>} how many bytes came
 */
export async function readModel({ size, stream }, write) {
  const reader = new ChunkReader(stream);
  let offset = 0;
  try {
    for (let chunk = await reader.read(); chunk !== null; chunk = await reader.read()) {
      checkMagic(chunk, offset);
      write(chunk, offset);
      offset += chunk.length;
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error instanceof OxiLlamaError ? error : networkError(error, "the model");
  }
  checkComplete(offset, size);
  return offset;
}

/**
 * @param {ByteSource} source
 * @param {AbortSignal} signal
 * @returns {Promise<string>}
 */
export async function readText(source, signal) {
  const { stream } = await openSource(source, signal);
  try {
    return await new Response(stream).text();
  } catch (error) {
    throw networkError(error, "the tokenizer");
  }
}

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<OpenSource>}
 */
async function openUrl(url, signal) {
  try {
    return await download(url, signal);
  } catch (error) {
    throw error instanceof OxiLlamaError ? error : networkError(error, url);
  }
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {ReadableStream<Uint8Array>} views of it, not copies
 */
function slices(buffer) {
  let offset = 0;
  return new ReadableStream({
    pull(controller) {
      const length = Math.min(SLICE_BYTES, buffer.byteLength - offset);
      if (length === 0) return controller.close();
      controller.enqueue(new Uint8Array(buffer, offset, length));
      offset += length;
    },
  });
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
  if (size !== null && received < size) {
    throw new OxiLlamaError({
      code: "truncated",
      message: `the model broke off after ${received} of ${size} bytes; load it again`,
    });
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
