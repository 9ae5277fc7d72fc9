/** The worker that hosts Python and one model. It answers the messages of protocol.js. */

import { OxiLlamaError, PROTOCOL_VERSION } from "./protocol.js";
import { heapBytes, startRuntime } from "./runtime.js";
import { Session } from "./session.js";
import { openSource, readModel, readText } from "./source.js";

/** @import { LoadRequest, Reply, Request } from "./protocol.js" */

const PROGRESS_INTERVAL_MS = 50;

// Python starts before anyone asks for a model. Whoever awaits it gets its error.
const runtime = startRuntime();
runtime.catch(() => {});

/** @type {Session | null} */
let session = null;
/** @type {{id: number, abort: AbortController} | null} */
let current = null;

self.onmessage = ({ data }) => {
  const request = /** @type {Request} */ (data);
  if (request.type === "abort") {
    if (current?.id === request.id) current.abort.abort();
  } else {
    void handle(request);
  }
};

/** @param {Exclude<Request, {type: "abort"}>} request */
async function handle(request) {
  const { id } = request;
  try {
    if (current !== null) {
      throw new OxiLlamaError({
        code: "busy",
        message: "the model is still at work; wait for the answer, or stop it",
      });
    }
    current = { id, abort: new AbortController() };
    const result = await perform(request, current.abort.signal);
    current = null;
    post({ type: "done", id, result });
  } catch (error) {
    if (current?.id === id) current = null;
    post({ type: "error", id, error: toOxiLlamaError(error).describe() });
  }
}

/**
 * @param {Exclude<Request, {type: "abort"}>} request
 * @param {AbortSignal} signal
 * @returns {Promise<unknown>}
 */
async function perform(request, signal) {
  if (request.type === "load") return load(request, signal);
  if (session === null) {
    throw new OxiLlamaError({ code: "not_loaded", message: "no model is loaded" });
  }
  switch (request.type) {
    case "generate":
      session.startPrompt(request.prompt, request.options);
      return session.answer(request.id, signal, post);
    case "chat":
      session.startChat(request.messages, request.options);
      return session.answer(request.id, signal, post);
    case "tokenize":
      return session.tokenize(request.text);
    case "renderChat":
      return session.renderChat(request.messages);
    case "reset":
      return session.reset();
  }
}

/**
 * @param {LoadRequest} request
 * @param {AbortSignal} signal
 */
async function load({ id, version, calledAt, model, tokenizer, contextSize }, signal) {
  if (version !== PROTOCOL_VERSION) {
    throw new OxiLlamaError({
      code: "runtime",
      message: "oxillama.js and worker.js are of different versions; empty the browser's cache",
    });
  }
  if (session !== null) {
    const message = "this worker already holds a model; start another one";
    throw new OxiLlamaError({ code: "invalid_request", message });
  }
  const elapsed = () => performance.timeOrigin + performance.now() - calledAt;
  post({ type: "progress", id, stage: "runtime", loaded: 0, total: 1 });
  const opening = Promise.all([
    openSource(model, signal),
    tokenizer === null ? null : readText(tokenizer, signal),
  ]);
  opening.catch(() => {});
  const { pyodide, snapshot } = await Promise.race([runtime, failed(opening)]);
  const runtimeTime = elapsed();
  post({ type: "progress", id, stage: "runtime", loaded: 1, total: 1 });

  const [source, tokenizerJson] = await opening;
  const next = new Session(pyodide);
  const memory = next.memory(source.size);
  const progress = throttled((/** @type {number} */ loaded) => {
    post({ type: "progress", id, stage: "download", loaded, total: source.size });
  });
  const received = await readModel(source, (chunk, offset) => {
    memory.write(chunk, offset);
    progress(offset + chunk.length);
  });
  memory.finish(received);
  const downloadTime = elapsed();
  post({ type: "progress", id, stage: "download", loaded: received, total: received });
  post({ type: "progress", id, stage: "load", loaded: 0, total: 1 });

  const info = next.load(tokenizerJson, contextSize);
  session = next;
  post({ type: "progress", id, stage: "load", loaded: 1, total: 1 });
  const ready = elapsed();
  const startup = {
    runtime: runtimeTime,
    download: downloadTime,
    load: ready - downloadTime,
    ready,
    snapshot,
  };
  return { ...info, heapBytes: heapBytes(pyodide), startup };
}

/**
 * @param {Promise<unknown>} promise
 * @returns {Promise<never>} rejects when `promise` does, and never resolves
 */
function failed(promise) {
  return new Promise((_, reject) => promise.catch(reject));
}

/**
 * @param {(value: number) => void} report
 * @returns {(value: number) => void} calls `report` at most once an interval
 */
function throttled(report) {
  let last = 0;
  return (value) => {
    const now = performance.now();
    if (now - last < PROGRESS_INTERVAL_MS) return;
    last = now;
    report(value);
  };
}

/** @param {unknown} error */
function toOxiLlamaError(error) {
  if (error instanceof OxiLlamaError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new OxiLlamaError({
    code: "internal",
    message,
    detail: error instanceof Error ? error.stack : "",
  });
}

/** @param {Reply} reply */
function post(reply) {
  self.postMessage(reply);
}
