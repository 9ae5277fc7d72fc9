/**
 * A file from a server: resumed where a connection broke, and over several connections where that
 * is faster.
 */

import { OxiLlamaError } from "../errors.js";
import { StreamReader } from "./stream_reader.js";

/** The download has failed after this many failures in a row without a byte in between. */
const MAX_FAILURES = 5;
/** The same for a server without ranges, where each new try begins with the first byte. */
const MAX_FAILURES_WITHOUT_RANGES = 2;
const FIRST_PAUSE_MS = 500;
/** The part of the file that a connection requests at a time when there are several. */
const RANGE_BYTES = 4 << 20;
const MAX_CONNECTIONS = 4;
/** A new connection needs this long to reach its speed. */
const SETTLE_MS = 300;
const MEASURE_MS = 500;
/** Another connection must make the download this much faster. */
const MIN_GAIN = 1.15;
/** The share of the time spent waiting for the server; below it this worker is the bottleneck. */
const MIN_WAITING = 0.6;

/**
 * @typedef {object} FileVersion  tells versions of a file apart; null: not known
 * @property {number | null} size  bytes
 * @property {string | null} etag
 * @property {string | null} lastModified
 *
 * @typedef {(chunk: Uint8Array, offset: number) => void | Promise<void>} Write  takes the bytes at
 *   an offset of the file, and must not keep a reference to them
 *
 * @typedef {{start: number, end: number}} Range
 */

export class Download {
  #url;
  #signal;
  #cache;
  #stop = new AbortController();
  /** @type {Connection | null} */
  #first = null;
  #ranged = false;
  /** Where the first range begins that no connection has taken. */
  #next = 0;
  #connections = 1;
  #received = 0;
  /** Milliseconds that the connections have waited for bytes. */
  #waited = 0;

  /** Offset of the first byte that will come: 0 if the server has another version by now. */
  start = 0;

  /**
   * Bytes of the file; null: not known before the end.
   *
   * @type {number | null}
   */
  size = null;

  /** @type {FileVersion} */
  version = { size: null, etag: null, lastModified: null };

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   * @param {RequestCache} cache  for the browser's own cache
   */
  constructor(url, signal, cache) {
    this.#url = url;
    this.#cache = cache;
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
  }

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   * @param {number} [start]  bytes that are on this device already
   * @param {FileVersion | null} [expected]  the version that they belong to
   * @param {RequestCache} [cache]  for the browser's own cache
   * @returns {Promise<Download>}
   */
  static async open(url, signal, start = 0, expected = null, cache = "default") {
    const download = new Download(url, signal, cache);
    const changed = !(await download.#open(start, expected));
    if (changed) await download.#open(0, null);
    return download;
  }

  /** Close the connection; `read` opens a new one. */
  suspend() {
    this.#first?.cancel();
    this.#first = null;
  }

  /**
   * Move the start to another offset than the one it was opened for.
   *
   * @param {number} offset
   */
  startAt(offset) {
    this.suspend();
    this.start = this.#next = offset;
  }

  /**
   * Hand the file's bytes from `start` on to `write`, each once; in any order if there are several
   * connections.
   *
   * @param {Write} write
   * @returns {Promise<number>} bytes of the file
   */
  async read(write) {
    const runs = [this.#begin(0, write)];
    try {
      if (this.#ranged && this.size !== null) await this.#addConnections(runs, write);
      await Promise.all(runs);
    } catch (error) {
      this.#stop.abort();
      await Promise.allSettled(runs);
      throw error;
    }
    return this.start + this.#received;
  }

  /**
   * @param {number} start
   * @param {FileVersion | null} expected
   * @returns {Promise<boolean>} whether the server has the expected version
   */
  async #open(start, expected) {
    const response = await this.#fetchFirst(start);
    const partial = response.status === 206;
    if (response.status === 416 && start > 0) return false;
    if (!response.ok || response.body === null) throw httpError(response, this.#url);
    const version = versionOf(response, partial ? start : 0);
    const first = new Connection(response.body, partial ? start : 0);
    if (expected !== null && !isSameVersion(version, expected)) {
      first.cancel();
      return false;
    }
    this.#first = first;
    this.#ranged = partial;
    this.start = this.#next = start;
    this.version = version;
    // cross-origin, the header that tells of a compressed body is hidden
    this.size = partial || response.type === "basic" ? version.size : null;
    return true;
  }

  /**
   * Send the first request: for a range, since the body is then not compressed.
   *
   * @param {number} start
   */
  async #fetchFirst(start) {
    try {
      const response = await this.#fetch(`bytes=${start}-`);
      if (response.status !== 416 || start > 0) return response;
    } catch (error) {
      if (this.#signal.aborted || start > 0) throw error;
    }
    return this.#fetch(null); // some hosts do not let other sites request ranges
  }

  /** @param {string | null} range */
  #fetch(range) {
    /** @type {HeadersInit} */
    const headers = range === null ? {} : { Range: range };
    return fetch(this.#url, { signal: this.#signal, headers, cache: this.#cache });
  }

  /**
   * Add connections as long as each makes the download faster.
   *
   * @param {Promise<void>[]} runs
   * @param {Write} write
   */
  async #addConnections(runs, write) {
    let best = 0;
    while (this.#connections < MAX_CONNECTIONS) {
      const { rate, waiting } = await this.#measure();
      if (this.#left() < 2 * RANGE_BYTES || this.#signal.aborted) return;
      if (waiting < MIN_WAITING) return;
      if (rate < MIN_GAIN * best) {
        this.#connections -= 1;
        return;
      }
      best = rate;
      runs.push(this.#begin(this.#connections++, write));
    }
  }

  /** Return the speed in bytes a second, and the share of their time that connections wait. */
  async #measure() {
    await this.#wait(SETTLE_MS);
    const [received, waited, started] = [this.#received, this.#waited, performance.now()];
    await this.#wait(MEASURE_MS);
    const seconds = (performance.now() - started) / 1000;
    const waiting = (this.#waited - waited) / 1000 / this.#connections / seconds;
    return { rate: (this.#received - received) / seconds, waiting };
  }

  /**
   * Wait, but no longer than there is something left to do.
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
    const run = this.#runConnection(index, write);
    run.catch(() => this.#stop.abort()); // the others end with it
    return run;
  }

  /**
   * Download one range after the other over one connection.
   *
   * @param {number} index
   * @param {Write} write
   */
  async #runConnection(index, write) {
    let connection = this.#first;
    this.#first = null;
    while (index < this.#connections) {
      const range = this.#nextRange();
      if (range === null) break;
      connection = await this.#download(range, connection, write);
    }
    connection?.cancel();
  }

  /** @returns {Range | null} null: all of the file is taken */
  #nextRange() {
    const start = this.#next;
    if (this.size !== null && start >= this.size) return null;
    if (start === Infinity) return null;
    const end = this.size === null ? Infinity : Math.min(start + RANGE_BYTES, this.size);
    this.#next = end;
    return { start, end };
  }

  /**
   * @param {Range} range
   * @param {Connection | null} connection
   * @param {Write} write
   * @returns {Promise<Connection | null>}
   */
  async #download({ start, end }, connection, write) {
    let [position, failures] = [start, 0];
    while (position < end) {
      let chunk;
      try {
        connection = await this.#connectAt(position, end, connection);
        const started = performance.now();
        chunk = await connection.read(end - position);
        this.#waited += performance.now() - started;
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
    const { size, etag, lastModified } = this.version;
    const isKnown = (size ?? etag ?? lastModified) !== null;
    return isKnown && failures < (this.#ranged ? MAX_FAILURES : MAX_FAILURES_WITHOUT_RANGES);
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
    // a single connection requests the whole rest of the file
    const part = this.#connections > 1 ? { end, size: this.size } : null;
    const response = await this.#fetch(`bytes=${position}-${part ? end - 1 : ""}`);
    const { body, ok, status } = response;
    if (!ok || body === null) throw httpError(response, this.#url, status >= 500 || status === 429);
    const partial = status === 206;
    const opened = new Connection(body, partial ? position : 0);
    const version = versionOf(response, opened.position, part);
    if (!isSameVersion(version, this.version, position === 0)) {
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
 * @returns {Promise<FileVersion | null>} the server's current version; null: it does not say
 */
export async function fetchVersion(url, signal) {
  const response = await fetch(url, { method: "HEAD", signal, cache: "no-cache" });
  return response.ok ? versionOf(response, 0) : null;
}

/** The body of a response, which begins at some offset of the file. */
class Connection {
  #reader;

  /**
   * @param {ReadableStream<Uint8Array>} body
   * @param {number} position
   */
  constructor(body, position) {
    this.#reader = new StreamReader(body);
    this.position = position;
  }

  /** @param {number} maxBytes */
  async read(maxBytes) {
    const chunk = await this.#reader.read(maxBytes);
    this.position += chunk?.length ?? 0;
    return chunk;
  }

  /**
   * Skip the bytes before a position, as a server without ranges requires.
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
 * @param {FileVersion} one
 * @param {FileVersion} other
 * @param {boolean} [otherwise]  the result if they have nothing to compare
 */
export function isSameVersion(one, other, otherwise = false) {
  const keys = /** @type {const} */ (["size", "etag", "lastModified"]);
  const common = keys.filter((key) => one[key] !== null && other[key] !== null);
  return common.length === 0 ? otherwise : common.every((key) => one[key] === other[key]);
}

/**
 * @param {Response} response
 * @param {number} start  offset of the first byte of its body
 * @param {{end: number, size: number | null} | null} [part]  the end of the range that was
 *   requested, and the size of the file
 * @returns {FileVersion}
 */
function versionOf(response, start, part = null) {
  const length = contentLength(response);
  const whole = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
  let size = length === null ? null : start + length;
  // cross-origin, the length is the only header to be seen: if it is right, so is the file's size
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
    message: `the file changed on its server during the download; load it again: ${url}`,
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
