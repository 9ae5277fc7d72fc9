/** The page's side of the talk with a worker. */

import { OxiLlamaError } from "../errors.js";

/** @import { AliveReply, Reply, Request, StartThreadReply } from "../protocol.js" */

/** How long a worker may take to begin, scripts included. */
const START_MS = 60_000;
/** How long a worker may take to end its threads. */
const CLOSE_MS = 2000;

/**
 * @template T
 * @typedef {T extends unknown ? Omit<T, "id"> : never} Unnumbered  one of a union, without its id
 */

/**
 * @typedef {object} Waiting
 * @property {(result: unknown) => void} resolve
 * @property {(error: OxiLlamaError) => void} reject
 * @property {(reply: Reply) => void} onReply  what comes before the end
 */

/** The worker, and the requests that wait for its replies. */
export class Connection {
  #assets;
  #name = `oxillama-${Date.now()}-${Math.random()}`;
  #worker;
  /** @type {Worker[]} of its kernels' threads: Chromium often keeps workers of workers for ever */
  #threads = [];
  /** Ends with the connection. */
  #life = new AbortController();
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  /** @type {OxiLlamaError | null} */
  #closed = null;
  #lastId = 0;
  #onAlive;

  /** @param {string | URL} assets  the folder that its scripts are served from */
  constructor(assets) {
    this.#assets = new URL(assets, document.baseURI);
    this.#worker = this.#startWorker("worker.js");
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault(); // told to the caller, not to the window
      this.#die(event.message);
    };
    this.#worker.onmessageerror = () => this.#die("a message could not be read");
    const timer = setTimeout(() => this.#die("it did not start"), START_MS);
    this.#life.signal.addEventListener("abort", () => clearTimeout(timer));
    this.#onAlive = () => {
      clearTimeout(timer);
      this.#watch();
    };
  }

  /** The worker has a lock; whoever gets it after that knows that the worker is no more. */
  #watch() {
    const { signal } = this.#life;
    navigator.locks
      ?.request(this.#name, { signal }, () => this.#die("the browser ended it"))
      .catch(() => {}); // the connection was closed before
  }

  /**
   * @param {Unnumbered<Request>} request
   * @param {(reply: Reply) => void} [onReply]
   * @param {Transferable[]} [transfer]
   * @returns {Promise<unknown> & {abort: () => void}}
   */
  request(request, onReply = () => {}, transfer = []) {
    const id = ++this.#lastId;
    /** @type {Promise<unknown>} */
    const promise = new Promise((resolve, reject) => {
      if (this.#closed !== null) return reject(this.#closed);
      this.#waiting.set(id, { resolve, reject, onReply });
      this.#worker.postMessage({ ...request, id }, transfer);
    });
    const abort = () => {
      if (this.#waiting.has(id)) this.#worker.postMessage({ type: "abort", id });
    };
    return Object.assign(promise, { abort });
  }

  /** @param {OxiLlamaError} reason */
  close(reason) {
    if (this.#closed !== null) return;
    this.#closed = reason;
    this.#life.abort();
    // threads that sleep in WebAssembly take the browser some seconds to end
    const timer = setTimeout(() => this.#terminate(), CLOSE_MS);
    this.#worker.onmessage = ({ data }) => {
      if (data.type !== "closed") return;
      clearTimeout(timer);
      this.#terminate();
    };
    this.#worker.postMessage({ type: "close" });
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }

  #terminate() {
    for (const worker of [...this.#threads, this.#worker]) worker.terminate();
  }

  /** @param {Reply | AliveReply | StartThreadReply} reply */
  #receive(reply) {
    if (reply.type === "alive") return this.#onAlive();
    if (reply.type === "startThread") return this.#startThread(reply);
    const waiting = this.#waiting.get(reply.id);
    if (waiting === undefined) return;
    if (reply.type === "done") {
      this.#waiting.delete(reply.id);
      waiting.resolve(reply.result);
    } else if (reply.type === "error") {
      this.#waiting.delete(reply.id);
      const error = new OxiLlamaError(reply.error);
      waiting.reject(error);
      if (error.code === "worker_died") this.close(error);
    } else {
      waiting.onReply(reply);
    }
  }

  /** @param {StartThreadReply} reply */
  #startThread({ port, failure }) {
    const thread = this.#startWorker("kernel_thread.js");
    thread.onerror = (event) => {
      event.preventDefault();
      failure.postMessage(event.message || "its worker could not be loaded");
    };
    thread.postMessage(port, [port]);
    this.#threads.push(thread);
  }

  /** @param {string} file */
  #startWorker(file) {
    return new Worker(new URL(file, this.#assets), { type: "module", name: this.#name });
  }

  /** @param {string | undefined} reason */
  #die(reason) {
    this.close(
      new OxiLlamaError({
        code: "worker_died",
        message: "the worker that ran the model ended unexpectedly; load the model again",
        detail: reason ?? "",
      }),
    );
    this.#terminate();
  }
}
