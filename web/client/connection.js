/** The page's end of the messages to and from a worker. */

import { OxiLlamaError } from "../errors.js";

/** @import { AliveReply, Methods, Reply, Request, StartThreadReply } from "../protocol.js" */

/** How long a worker may take to start, including to fetch its scripts. */
const START_TIMEOUT_MS = 60_000;
/** How long a worker may take to end its threads. */
const CLOSE_TIMEOUT_MS = 2000;

/**
 * @template T
 * @typedef {T extends unknown ? Omit<T, "id"> : never} Unnumbered  one of a union, without its id
 */

/**
 * @typedef {object} Waiting
 * @property {(result: unknown) => void} resolve
 * @property {(error: OxiLlamaError) => void} reject
 * @property {(reply: Reply) => void} onReply  receives the replies before the end
 */

/** The worker, and the requests that wait for its replies. */
export class Connection {
  #assets;
  #name = `oxillama-${Date.now()}-${Math.random()}`;
  #worker;
  /** @type {Worker[]} started by the page: Chromium often keeps workers of workers forever */
  #threads = [];
  /** Aborted at the end of the connection. */
  #life = new AbortController();
  /** @type {Map<number, Waiting>} requests by id */
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
      event.preventDefault(); // the caller gets it, not the window
      this.#onWorkerDied(event.message);
    };
    this.#worker.onmessageerror = () => this.#onWorkerDied("a message could not be read");
    const timer = setTimeout(() => this.#onWorkerDied("it did not start"), START_TIMEOUT_MS);
    this.#life.signal.addEventListener("abort", () => clearTimeout(timer));
    this.#onAlive = () => {
      clearTimeout(timer);
      this.#watch();
    };
  }

  /** Wait for the lock that the worker holds: whoever gets it knows that the worker has ended. */
  #watch() {
    const { signal } = this.#life;
    navigator.locks
      ?.request(this.#name, { signal }, () => this.#onWorkerDied("the browser ended it"))
      .catch(() => {}); // the connection was closed first
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

  /**
   * Call a method of the model.
   *
   * @template {keyof Methods} Name
   * @param {Name} type
   * @param {Parameters<Methods[Name]>[0]} args
   * @returns {Promise<ReturnType<Methods[Name]>>}
   */
  call(type, args) {
    return /** @type {Promise<any>} */ (this.request(/** @type {any} */ ({ type, ...args })));
  }

  /** @param {OxiLlamaError} reason */
  close(reason) {
    if (this.#closed !== null) return;
    this.#closed = reason;
    this.#life.abort();
    // a browser takes seconds to terminate threads that sleep in WebAssembly
    const timer = setTimeout(() => this.#terminate(), CLOSE_TIMEOUT_MS);
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
  #onWorkerDied(reason) {
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
