/** The worker that hosts Python and one model. It answers the messages of protocol.js. */

import { OxiLlamaError, invalidRequest, toOxiLlamaError } from "../errors.js";
import { openKernels } from "../kernels/pool.js";
import { ANSWERS, METHODS, PROTOCOL_VERSION } from "../protocol.js";
import { ModelLoader } from "./model_loader.js";
import { startRuntime } from "./runtime.js";
import { warmUp } from "./warm_up.js";

/**
 * @import { KernelPool } from "../kernels/pool.js"
 * @import { AliveReply, AnswerRequest, ClosedReply, LoadProgress, LoadRequest, Reply, Request
 *   } from "../protocol.js"
 * @import { EngineProxy } from "./engine_proxy.js"
 */

/** @typedef {Exclude<Request, {type: "abort" | "close"}>} Task  a request with a reply */

/** Saving the snapshot earlier would delay a question that comes right after the model. */
const KEEP_AFTER_MS = 3000;

// Python starts before a model is requested. Whoever awaits it gets its error.
const runtime = startRuntime();
const kept = runtime.then(async ({ keep }) => {
  await whenIdle(KEEP_AFTER_MS);
  return keep();
});
kept.catch(() => {});

/** @type {KernelPool | null} */
let kernels = null;
/** @type {EngineProxy | null} */
let engine = null;

/** @typedef {{task: Task, abort: AbortController}} Job */

/** @type {Job[]} in the order in which they came; the first one is running */
const jobs = [];
/** @type {Set<Job>} completions, which run side by side, each in a conversation of its own */
const completions = new Set();
/** Resolves when the first job has ended. */
let ended = Promise.resolve();

void holdLock();

self.onmessage = ({ data }) => {
  const request = /** @type {Request} */ (data);
  if (request.type === "close") {
    void close();
  } else if (request.type === "abort") {
    [...jobs, ...completions].find(({ task }) => task.id === request.id)?.abort.abort();
  } else if (request.type === "complete") {
    void complete({ task: request, abort: new AbortController() });
  } else {
    jobs.push({ task: request, abort: new AbortController() });
    if (jobs.length === 1) void work();
  }
};

/**
 * @param {number} milliseconds
 * @returns {Promise<void>} resolves this long from now, or later, when no answer is under way
 */
async function whenIdle(milliseconds) {
  do {
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
  } while (completions.size > 0 || (jobs[0] !== undefined && jobs[0].task.type !== "load"));
}

/** Hold a lock of this worker's name for as long as it lives: its release tells the page. */
async function holdLock() {
  await new Promise((resolve) => {
    if (navigator.locks === undefined) return resolve(undefined);
    return navigator.locks.request(self.name, () => new Promise(() => resolve(undefined)));
  });
  post({ type: "alive" });
}

/** Let the page terminate this worker; with threads, self.close() would leave it hanging. */
async function close() {
  for (const { abort } of [...jobs, ...completions]) abort.abort();
  // an aborted download saves how far it came
  await Promise.allSettled([ended, kernels?.close()]);
  post({ type: "closed" });
}

/** Perform one request after the other. */
async function work() {
  for (let job = jobs[0]; job !== undefined; job = jobs[0]) {
    ended = handle(job);
    await ended;
    jobs.shift();
  }
}

/** @param {Job} job */
async function complete(job) {
  completions.add(job);
  await handle(job);
  completions.delete(job);
}

/** @param {Job} job */
async function handle({ task, abort }) {
  const { id } = task;
  try {
    const result = await perform(task, abort.signal);
    post({ type: "done", id, result });
  } catch (error) {
    post({ type: "error", id, error: toOxiLlamaError(error).describe() });
  }
}

/**
 * @param {Task} request
 * @param {AbortSignal} signal
 * @returns {Promise<unknown>} its result
 */
async function perform(request, signal) {
  if (request.type === "load") return load(request, signal);
  if (engine === null) {
    throw new OxiLlamaError({ code: "not_loaded", message: "no model is loaded" });
  }
  if (request.type === "complete") return engine.complete(request, signal, post);
  if (isAnswer(request)) return engine.answer(request, signal, post);
  if (Object.hasOwn(METHODS, request.type)) return engine.call(request);
  throw invalidRequest(`there is no request "${/** @type {Task} */ (request).type}"`);
}

/**
 * @param {Task} request
 * @returns {request is AnswerRequest}
 */
function isAnswer(request) {
  return Object.hasOwn(ANSWERS, request.type);
}

/**
 * @param {LoadRequest} request
 * @param {AbortSignal} signal
 */
async function load(request, signal) {
  if (request.version !== PROTOCOL_VERSION) {
    throw new OxiLlamaError({
      code: "runtime",
      message: "oxillama.js and worker.js are of different versions; empty the browser's cache",
    });
  }
  if (engine !== null) throw invalidRequest("this worker already holds a model; start another one");
  const opening = openKernels(request.threads).then((pool) => (kernels = pool));
  opening.catch(() => {});
  const { id } = request;
  const onProgress = (/** @type {LoadProgress} */ progress) =>
    post({ type: "progress", id, progress });
  const loaded = await new ModelLoader(request, runtime, opening, signal, onProgress).load();
  engine = loaded.engine;
  void prepareNextStart();
  return loaded.info;
}

async function prepareNextStart() {
  try {
    const { pyodide } = await runtime;
    if (kernels !== null) await warmUp(pyodide, kernels, await kept, whenIdle);
  } catch (error) {
    console.warn("oxillama: the next start will not be faster:", error);
  }
}

/** @param {Reply | AliveReply | ClosedReply} reply */
function post(reply) {
  const result = reply.type === "done" ? reply.result : null;
  self.postMessage(reply, { transfer: result instanceof Uint8Array ? [result.buffer] : [] });
}
