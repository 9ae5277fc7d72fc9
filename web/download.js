/** A file from a server, taken up again where the connection broke. */

import { CHUNK_BYTES, ChunkReader } from "./chunks.js";
import { OxiLlamaError } from "./protocol.js";

/** After so many failures without a byte in between, the download has failed. */
const MAX_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 500;

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<{size: number | null, stream: ReadableStream<Uint8Array>}>} size is null where
 *   the body's size differs from the header's
 */
export async function download(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok || response.body === null) {
    throw new OxiLlamaError({
      code: "http",
      status: response.status,
      message: `the server answered ${response.status} ${response.statusText} for ${url}`,
    });
  }
  const size = contentLength(response);
  const stream = new ReadableStream(new ResumingSource(url, signal, response.body, size));
  return { size, stream };
}

/** @implements {UnderlyingByteSource} */
class ResumingSource {
  type = /** @type {const} */ ("bytes");
  autoAllocateChunkSize = CHUNK_BYTES;
  #url;
  #signal;
  #reader;
  #size;
  #offset = 0;
  #failures = 0;

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   * @param {ReadableStream<Uint8Array>} body
   * @param {number | null} size
   */
  constructor(url, signal, body, size) {
    this.#url = url;
    this.#signal = signal;
    this.#reader = new ChunkReader(body);
    this.#size = size;
  }

  /** @param {ReadableByteStreamController} controller */
  async pull(controller) {
    for (;;) {
      try {
        const chunk = await this.#reader.read();
        if (chunk === null) return end(controller);
        this.#offset += chunk.length;
        this.#failures = 0;
        return give(controller, chunk);
      } catch (error) {
        await this.#resume(error);
      }
    }
  }

  /** @param {unknown} reason */
  async cancel(reason) {
    await this.#reader.cancel(reason);
  }

  /**
   * @param {unknown} error  why the connection broke; thrown again where it cannot be taken up
   * @returns {Promise<void>}
   */
  async #resume(error) {
    while (!this.#signal.aborted && this.#size !== null && this.#failures < MAX_ATTEMPTS) {
      await pause(FIRST_PAUSE_MS * 2 ** this.#failures);
      this.#failures += 1;
      const body = await this.#fetchRest(this.#size - this.#offset);
      if (body === "try again") continue;
      if (body === null) break;
      this.#reader = new ChunkReader(body);
      return;
    }
    throw error;
  }

  /**
   * @param {number} remaining
   * @returns {Promise<ReadableStream<Uint8Array> | "try again" | null>} null: it cannot be had
   */
  async #fetchRest(remaining) {
    let response;
    try {
      // the whole again, if nothing came: a server may answer a range from 0 with it or with a part
      /** @type {HeadersInit} */
      const headers = this.#offset > 0 ? { Range: `bytes=${this.#offset}-` } : {};
      response = await fetch(this.#url, { signal: this.#signal, headers });
    } catch {
      return "try again";
    }
    // of another length: not the file that it was
    const expected = this.#offset > 0 ? 206 : 200;
    if (response.status === expected && contentLength(response) === remaining) return response.body;
    await response.body?.cancel();
    return response.status >= 500 ? "try again" : null;
  }
}

/**
 * Copy a chunk to whoever reads, if there is room for all of it.
 *
 * @param {ReadableByteStreamController} controller
 * @param {Uint8Array} chunk
 */
function give(controller, chunk) {
  const { byobRequest } = controller;
  const view = byobRequest?.view;
  if (!view || view.byteLength < chunk.length) return controller.enqueue(chunk.slice());
  new Uint8Array(view.buffer, view.byteOffset, chunk.length).set(chunk);
  byobRequest.respond(chunk.length);
}

/** @param {ReadableByteStreamController} controller */
function end(controller) {
  controller.close();
  controller.byobRequest?.respond(0);
}

/**
 * @param {Response} response
 * @returns {number | null}
 */
function contentLength(response) {
  const length = Number(response.headers.get("Content-Length"));
  const encoded = response.headers.has("Content-Encoding");
  return encoded || !Number.isSafeInteger(length) || length <= 0 ? null : length;
}

/**
 * @param {number} milliseconds
 * @returns {Promise<void>}
 */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
