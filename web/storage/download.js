/**
 * A file from a server: taken up again where a connection broke, and over several connections where
 * that is faster.
 */

import { ChunkReader } from "./stream_reader.js";
import { OxiLlamaError } from "../protocol.js";

/** After so many failures without a byte in between, the download has failed. */
const MOST_FAILURES = 5;
/** Where a server gives no ranges, each new try begins with the first byte. */
const MOST_FAILURES_OF_WHOLE = 2;
const FIRST_PAUSE_MS = 500;
/** What one connection takes upon itself at a time, while there are several. */
const SEGMENT_BYTES = 4 << 20;
const MOST_CONNECTIONS = 4;
/** A connection shows what it gains once it has run for a moment. */
const SETTLE_MS = 300;
const MEASURE_MS = 500;
const LEAST_GAIN = 1.15;
/** Of the time, waiting for the server: else this worker is what takes the time. */
const LEAST_WAITING = 0.6;

/**
 * @typedef {object} Identity  tells a file from another version of it; null: not known
 * @property {number | null} size  bytes
 * @property {string | null} etag
 * @property {string | null} lastModified
 *
 * @typedef {(chunk: Uint8Array, offset: number) => void | Promise<void>} Write  takes bytes that
 *   belong at an offset of the file, and must not keep them
 *
 * @typedef {{start: number, end: number}} Segment
 */

export class Download {
  #url;
  #signal;
  #cache;
  #stop = new AbortController();
  /** @type {Connection | null} */
  #first = null;
  #ranged = false;
  /** Where the part of the file begins that no connection has taken upon itself. */
  #next = 0;
  #connections = 1;
  #received = 0;
  /** Milliseconds that connections waited for bytes. */
  #waited = 0;

  /** Where the bytes begin that come: 0 where the server has another file by now. */
  start = 0;

  /**
   * Bytes of the file; null: not known before the end.
   *
   * @type {number | null}
   */
  size = null;

  /** @type {Identity} */
  identity = { size: null, etag: null, lastModified: null };

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   * @param {RequestCache} cache  what the browser's own cache is to do
   */
  constructor(url, signal, cache) {
    this.#url = url;
    this.#cache = cache;
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
  }

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   * @param {number} [start]  bytes that are here already
   * @param {Identity | null} [expected]  of the file that they are of
   * @param {RequestCache} [cache]  what the browser's own cache is to do
   * @returns {Promise<Download>}
   */
  static async open(url, signal, start = 0, expected = null, cache = "default") {
    const download = new Download(url, signal, cache);
    const changed = !(await download.#open(start, expected));
    if (changed) await download.#open(0, null);
    return download;
  }

  /** Let go of the connection; `read` makes a new one. */
  suspend() {
    this.#first?.cancel();
    this.#first = null;
  }

  /**
   * Read from another place on than it was opened for.
   *
   * @param {number} offset
   */
  startAt(offset) {
    this.suspend();
    this.start = this.#next = offset;
  }

  /**
   * Hand the file's bytes from `start` on to `write`, each once; without order where there are
   * several connections.
   *
   * @param {Write} write
   * @returns {Promise<number>} bytes of the file
   */
  async read(write) {
    const lanes = [this.#begin(0, write)];
    try {
      if (this.#ranged && this.size !== null) await this.#widen(lanes, write);
      await Promise.all(lanes);
    } catch (error) {
      this.#stop.abort();
      await Promise.allSettled(lanes);
      throw error;
    }
    return this.start + this.#received;
  }

  /**
   * @param {number} start
   * @param {Identity | null} expected
   * @returns {Promise<boolean>} whether the file is the expected one
   */
  async #open(start, expected) {
    const response = await this.#ask(start);
    const partial = response.status === 206;
    if (response.status === 416 && start > 0) return false;
    if (!response.ok || response.body === null) throw httpError(response, this.#url);
    const identity = identify(response, partial ? start : 0);
    const first = new Connection(response.body, partial ? start : 0);
    if (expected !== null && !isSame(identity, expected)) {
      first.cancel();
      return false;
    }
    this.#first = first;
    this.#ranged = partial;
    this.start = this.#next = start;
    this.identity = identity;
    // elsewhere the header that a body is compressed cannot be seen
    this.size = partial || response.type === "basic" ? identity.size : null;
    return true;
  }

  /**
   * The first request. A range, since a body is then not compressed.
   *
   * @param {number} start
   */
  async #ask(start) {
    try {
      const response = await this.#fetch(`bytes=${start}-`);
      if (response.status !== 416 || start > 0) return response;
    } catch (error) {
      if (this.#signal.aborted || start > 0) throw error;
    }
    return this.#fetch(null); // some hosts do not let other sites ask for ranges
  }

  /** @param {string | null} range */
  #fetch(range) {
    /** @type {HeadersInit} */
    const headers = range === null ? {} : { Range: range };
    return fetch(this.#url, { signal: this.#signal, headers, cache: this.#cache });
  }

  /**
   * Add connections as long as each makes the whole faster.
   *
   * @param {Promise<void>[]} lanes
   * @param {Write} write
   */
  async #widen(lanes, write) {
    let best = 0;
    while (this.#connections < MOST_CONNECTIONS) {
      const { rate, waiting } = await this.#measure();
      if (this.#left() < 2 * SEGMENT_BYTES || this.#signal.aborted) return;
      if (waiting < LEAST_WAITING) return;
      if (rate < LEAST_GAIN * best) {
        this.#connections -= 1;
        return;
      }
      best = rate;
      lanes.push(this.#begin(this.#connections++, write));
    }
  }

  /** Bytes a second, and how much of their time connections wait. */
  async #measure() {
    await this.#wait(SETTLE_MS);
    const [received, waited, started] = [this.#received, this.#waited, performance.now()];
    await this.#wait(MEASURE_MS);
    const seconds = (performance.now() - started) / 1000;
    const waiting = (this.#waited - waited) / 1000 / this.#connections / seconds;
    return { rate: (this.#received - received) / seconds, waiting };
  }

  /**
   * Wait, or not to its end if there is nothing left to do.
   *
   * @param {number} milliseconds
   */
  async #wait(milliseconds) {
    const end = performance.now() + milliseconds;
    while (performance.now() < end && this.#left() > 0 && !this.#signal.aborted) {
      await pause(20, this.#signal);
    }
  }

  #left() {
    return this.size === null ? 0 : this.size - this.#next;
  }

  /**
   * @param {number} index
   * @param {Write} write
   */
  #begin(index, write) {
    const lane = this.#lane(index, write);
    lane.catch(() => this.#stop.abort()); // the others end with it
    return lane;
  }

  /**
   * What one connection does: segment after segment.
   *
   * @param {number} index
   * @param {Write} write
   */
  async #lane(index, write) {
    let connection = this.#first;
    this.#first = null;
    while (index < this.#connections) {
      const segment = this.#claim();
      if (segment === null) break;
      connection = await this.#fill(segment, connection, write);
    }
    connection?.cancel();
  }

  /** @returns {Segment | null} */
  #claim() {
    const start = this.#next;
    if (this.size !== null && start >= this.size) return null;
    if (start === Infinity) return null;
    const end = this.size === null ? Infinity : Math.min(start + SEGMENT_BYTES, this.size);
    this.#next = end;
    return { start, end };
  }

  /**
   * @param {Segment} segment
   * @param {Connection | null} connection
   * @param {Write} write
   * @returns {Promise<Connection | null>}
   */
  async #fill({ start, end }, connection, write) {
    let [position, failures] = [start, 0];
    while (position < end) {
      let chunk;
      try {
        connection = await this.#connectAt(position, end, connection);
        const asked = performance.now();
        chunk = await connection.read(end - position);
        this.#waited += performance.now() - asked;
        if (chunk === null && end !== Infinity) throw new Error("the connection ended early");
      } catch (error) {
        connection = null;
        if (!this.#canResume(error, failures)) throw error;
        await pause(FIRST_PAUSE_MS * 2 ** failures, this.#signal);
        failures += 1;
        continue;
      }
      if (chunk === null) return null;
      failures = 0;
      this.#received += chunk.length;
      const written = write(chunk, position);
      position += chunk.length;
      if (written) await written;
    }
    return connection;
  }

  /**
   * @param {unknown} error
   * @param {number} failures  before this one
   */
  #canResume(error, failures) {
    if (this.#signal.aborted || error instanceof OxiLlamaError) return false;
    const { size, etag, lastModified } = this.identity;
    const known = (size ?? etag ?? lastModified) !== null;
    return known && failures < (this.#ranged ? MOST_FAILURES : MOST_FAILURES_OF_WHOLE);
  }

  /**
   * @param {number} position
   * @param {number} end
   * @param {Connection | null} connection  the one that is open
   */
  async #connectAt(position, end, connection) {
    if (connection !== null) {
      if (await connection.advance(position)) return connection;
      connection.cancel();
    }
    // the rest of the file, where there is no one else to take a part of it
    const part = this.#connections > 1 ? { end, size: this.size } : null;
    const response = await this.#fetch(`bytes=${position}-${part ? end - 1 : ""}`);
    const { body, ok, status } = response;
    if (!ok || body === null) throw httpError(response, this.#url, status >= 500 || status === 429);
    const partial = status === 206;
    const opened = new Connection(body, partial ? position : 0);
    const identity = identify(response, opened.position, part);
    if (!isSame(identity, this.identity, position === 0)) {
      opened.cancel();
      throw changedError(this.#url);
    }
    this.#ranged = partial;
    await opened.advance(position);
    return opened;
  }
}

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<Identity | null>} what the server has by now; null: it does not tell
 */
export async function serverIdentity(url, signal) {
  const response = await fetch(url, { method: "HEAD", signal, cache: "no-cache" });
  return response.ok ? identify(response, 0) : null;
}

/** The body of an answer, from some offset of the file on. */
class Connection {
  #reader;

  /**
   * @param {ReadableStream<Uint8Array>} body
   * @param {number} position
   */
  constructor(body, position) {
    this.#reader = new ChunkReader(body);
    this.position = position;
  }

  /** @param {number} most */
  async read(most) {
    const chunk = await this.#reader.read(most);
    this.position += chunk?.length ?? 0;
    return chunk;
  }

  /**
   * Skip what comes before a position: where a server gives no ranges, nothing else helps.
   *
   * @param {number} position
   * @returns {Promise<boolean>} whether the next byte is the one at `position`
   */
  async advance(position) {
    const isWhole = this.position === 0;
    while (isWhole && this.position < position) {
      if ((await this.read(position - this.position)) === null) break;
    }
    return this.position === position;
  }

  cancel() {
    this.#reader.cancel().catch(() => {});
  }
}

/**
 * @param {Identity} one
 * @param {Identity} other
 * @param {boolean} [otherwise]  the answer where there is nothing to compare
 */
export function isSame(one, other, otherwise = false) {
  const keys = /** @type {const} */ (["size", "etag", "lastModified"]);
  const common = keys.filter((key) => one[key] !== null && other[key] !== null);
  return common.length === 0 ? otherwise : common.every((key) => one[key] === other[key]);
}

/**
 * @param {Response} response
 * @param {number} start  where its body begins
 * @param {{end: number, size: number | null} | null} [part]  that was asked for of a file
 * @returns {Identity}
 */
function identify(response, start, part = null) {
  const length = contentLength(response);
  const whole = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
  let size = length === null ? null : start + length;
  // a part of the right length speaks for the whole: cross-origin, one header is all that is seen
  if (part !== null && size === part.end) size = part.size;
  return {
    size: whole === undefined ? size : Number(whole),
    etag: response.headers.get("ETag")?.replace(/^W\//, "") ?? null,
    lastModified: response.headers.get("Last-Modified"),
  };
}

/**
 * @param {Response} response
 * @returns {number | null}
 */
function contentLength(response) {
  const length = Number(response.headers.get("Content-Length"));
  const encoding = response.headers.get("Content-Encoding") ?? "identity";
  return encoding !== "identity" || !Number.isSafeInteger(length) || length <= 0 ? null : length;
}

/**
 * @param {Response} response
 * @param {string} url
 * @param {boolean} [temporary]  worth another try
 */
function httpError({ status, statusText, body }, url, temporary = false) {
  body?.cancel().catch(() => {});
  const message = `the server answered ${status} ${statusText} for ${url}`;
  return temporary ? new Error(message) : new OxiLlamaError({ code: "http", status, message });
}

/** @param {string} url */
function changedError(url) {
  return new OxiLlamaError({
    code: "network",
    message: `the file changed on its server while it was on its way; load it again: ${url}`,
  });
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal  ends it early
 * @returns {Promise<void>}
 */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}
