/** The worker that hosts Python and one model. It answers the messages of protocol.js. */

import { openKernels } from "../kernels/pool.js";
import { ModelMemory } from "../kernels/model_memory.js";
import { OxiLlamaError } from "../errors.js";
import { PROTOCOL_VERSION } from "../protocol.js";
import { ProgressReporter } from "./progress.js";
import { rehearse } from "./rehearsal.js";
import { heapBytes, startRuntime } from "./runtime.js";
import { Session } from "./engine_proxy.js";
import { openOnDevice } from "../storage/random_access_file.js";
import { openSources, readModel, readText } from "../storage/sources.js";

/** @import { PyodideAPI } from "pyodide" */
/** @import { KernelPool } from "../kernels/pool.js" */
/** @import { AliveReply, ClosedReply, LoadRequest, ModelInfo } from "../protocol.js" */
/** @import { Reply, Request } from "../protocol.js" */
/** @import { FileSource } from "../storage/file_source.js" */

/** @typedef {Exclude<Request, {type: "abort" | "close"}>} Task  what has a reply */

/** To keep what starts Python faster would be felt in a question that comes with the model. */
const KEEP_AFTER_MS = 3000;
/** Whose files are not worth to be kept. */
const USELESS = ["not_gguf", "bad_model", "unsupported_model", "tokenizer", "truncated"];

// Python starts before anyone asks for a model. Whoever awaits it gets its error.
const runtime = startRuntime();
const kept = runtime.then(async ({ keep }) => {
  await betweenAnswers(KEEP_AFTER_MS);
  return keep();
});
kept.catch(() => {});

/** @type {KernelPool | null} */
let kernels = null;
/** @type {Session | null} */
let session = null;

/** @typedef {{task: Task, abort: AbortController}} Job */

/** @type {Job[]} in the order in which they came; the first one is under way */
const jobs = [];
/** Of the first job. */
let ended = Promise.resolve();

void liveOn();

self.onmessage = ({ data }) => {
  const request = /** @type {Request} */ (data);
  if (request.type === "close") {
    void close();
  } else if (request.type === "abort") {
    jobs.find(({ task }) => task.id === request.id)?.abort.abort();
  } else {
    jobs.push({ task: request, abort: new AbortController() });
    if (jobs.length === 1) void work();
  }
};

/**
 * @param {number} milliseconds
 * @returns {Promise<void>} so long from now, or later: when no answer is under way
 */
async function betweenAnswers(milliseconds) {
  do {
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
  } while (jobs[0] !== undefined && jobs[0].task.type !== "load");
}

/** While this worker lives it has a lock of its own name: so the page learns that it was killed. */
async function liveOn() {
  await new Promise((resolve) => {
    if (navigator.locks === undefined) return resolve(undefined);
    return navigator.locks.request(self.name, () => new Promise(() => resolve(undefined)));
  });
  post({ type: "alive" });
}

/** The page ends this worker then; self.close() would leave it hanging if it has threads. */
async function close() {
  for (const { abort } of jobs) abort.abort();
  // a download that stops notes how far it came
  await Promise.allSettled([ended, kernels?.close()]);
  post({ type: "closed" });
}

/** One request after the other. */
async function work() {
  for (let job = jobs[0]; job !== undefined; job = jobs[0]) {
    ended = handle(job);
    await ended;
    jobs.shift();
  }
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
    case "countChatTokens":
      return session.countChatTokens(request.messages);
    case "embed":
      return session.embed(request.texts, request.options);
    case "saveSession":
      return session.saveConversation();
    case "loadSession":
      return session.restoreConversation(request.bytes);
    case "pushLora":
      return session.pushLora(request.bytes, request.scale);
    case "clearLoras":
      return session.clearLoras();
    case "metrics":
      return session.metrics();
    case "reset":
      return session.reset();
  }
}

/**
 * @param {LoadRequest} request
 * @param {AbortSignal} signal
 */
async function load(request, signal) {
  const { version, model, tokenizer, cache } = request;
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
  const opening = openKernels(request.threads).then((pool) => (kernels = pool));
  opening.catch(() => {});
  if (request.memoryBudget !== null) return loadPaged(request, opening, signal);
  const sources = tokenizer === null ? model : [...model, tokenizer];
  const files = await openSources(sources, signal, cache);
  const vocabulary = tokenizer === null ? null : files.pop();
  try {
    return await loadFiles(request, opening, files, vocabulary ?? null);
  } catch (error) {
    const { code } = toOxiLlamaError(error);
    const all = vocabulary ? [...files, vocabulary] : files;
    for (const file of all) await (USELESS.includes(code) ? file.discard() : file.close());
    throw error;
  }
}

/**
 * @param {PyodideAPI} pyodide
 * @param {KernelPool} pool
 */
async function prepareNextStart(pyodide, pool) {
  try {
    await rehearse(pyodide, pool, await kept, betweenAnswers);
  } catch (error) {
    console.warn("oxillama: the next start will not be faster:", error);
  }
}

/**
 * @param {LoadRequest} request
 * @param {Promise<KernelPool>} opening
 * @param {FileSource[]} files
 * @param {FileSource | null} vocabulary
 * @returns {Promise<ModelInfo>}
 */
async function loadFiles({ id, calledAt, context }, opening, files, vocabulary) {
  const elapsed = () => performance.timeOrigin + performance.now() - calledAt;
  const reporter = new ProgressReporter((progress) => post({ type: "progress", id, progress }));
  reporter.begin("runtime");
  /** @type {Session | null} */
  let next = null;
  const arrival = receiveModel(files, opening, (memory, file, count) => {
    next?.receive(memory);
    reporter.add(file.local ? "read" : "download", count, memory.size);
  });
  arrival.catch(() => {});
  const text = vocabulary === null ? null : readText(vocabulary);
  const starting = Promise.all([runtime, opening, text]);
  const [{ pyodide, snapshot }, pool, tokenizerJson] = await Promise.race([
    starting,
    failed(arrival),
  ]);
  const runtimeTime = elapsed();

  next = new Session(pyodide);
  next.begin(pool, tokenizerJson, context);
  const memory = await arrival;
  const downloadTime = elapsed();
  reporter.end(files.at(-1)?.local ? "read" : "download");
  reporter.begin("load");

  next.receive(memory);
  const info = next.load();
  session = next;
  void prepareNextStart(pyodide, pool);
  const ready = elapsed();
  const startup = {
    runtime: runtimeTime,
    download: downloadTime,
    load: ready - downloadTime,
    ready,
    snapshot,
  };
  const { threads: count, isolated, note } = pool;
  const threading = { threads: count, isolated, threadsNote: note };
  const cache = {
    hit: files.every((file) => file.cached),
    stored: files.every((file) => file.note === ""),
    note: files.map((file) => file.note).find((reason) => reason !== "") ?? "",
  };
  return { ...info, ...threading, heapBytes: heapBytes(pyodide), cache, startup };
}

/**
 * A model that stays on the device, but for what the budget allows.
 *
 * @param {LoadRequest} request
 * @param {Promise<KernelPool>} opening
 * @param {AbortSignal} signal
 * @returns {Promise<ModelInfo>}
 */
async function loadPaged(request, opening, signal) {
  const { id, calledAt, model, tokenizer, cache, context } = request;
  const elapsed = () => performance.timeOrigin + performance.now() - calledAt;
  const [source, ...others] = model;
  if (source === undefined || others.length > 0) {
    const message = "a memory budget needs a model in one file";
    throw new OxiLlamaError({ code: "invalid_request", message });
  }
  const reporter = new ProgressReporter((progress) => post({ type: "progress", id, progress }));
  reporter.begin("runtime");
  const opened = openOnDevice(source, signal, cache, (file, count) => {
    reporter.add(file.local ? "read" : "download", count, file.size);
  });
  const text = tokenizer === null ? null : readTokenizer(tokenizer, signal, cache);
  const starting = Promise.all([runtime, opening, text]);
  const [onDevice, [{ pyodide, snapshot }, pool, tokenizerJson]] = await Promise.all([
    opened, starting,
  ]);
  const downloadTime = elapsed();
  reporter.begin("load");
  const next = new Session(pyodide);
  const budget = Number(request.memoryBudget);
  const info = next.loadPaged(pool, onDevice, budget, tokenizerJson, context);
  session = next;
  const ready = elapsed();
  const startup = {
    runtime: downloadTime, download: downloadTime, load: ready - downloadTime, ready, snapshot,
  };
  const { threads: count, isolated, note } = pool;
  const threading = { threads: count, isolated, threadsNote: note };
  const isUrl = source.kind === "url";
  const cached = { hit: isUrl, stored: isUrl, note: isUrl ? "" : "not kept: it is a file" };
  return { ...info, ...threading, heapBytes: heapBytes(pyodide), cache: cached, startup };
}

/**
 * @param {import("../protocol.js").ByteSource} source
 * @param {AbortSignal} signal
 * @param {import("../protocol.js").CacheMode} cache
 */
async function readTokenizer(source, signal, cache) {
  const [file] = /** @type {[FileSource]} */ (await openSources([source], signal, cache));
  return readText(file);
}

/**
 * Write a model into the kernels' memory; Python need not be there yet.
 *
 * @param {FileSource[]} files
 * @param {Promise<KernelPool>} opening
 * @param {(memory: ModelMemory, file: FileSource, bytes: number) => void} onChunk
 * @returns {Promise<ModelMemory>}
 */
async function receiveModel(files, opening, onChunk) {
  const pool = await opening;
  const sizes = files.map(({ size }) => size);
  const guess = files.reduce((sum, file) => sum + (file.size ?? file.guess), 0);
  const memory = new ModelMemory(pool, sizes, guess);
  for (const [index, file] of files.entries()) {
    const start = memory.startFile(index);
    await readModel(file, (chunk, offset) => {
      memory.write(chunk, start + offset);
      onChunk(memory, file, chunk.length);
    });
  }
  memory.finish();
  return memory;
}

/**
 * @param {Promise<unknown>} promise
 * @returns {Promise<never>} rejects when `promise` does, and never resolves
 */
function failed(promise) {
  return new Promise((_, reject) => promise.catch(reject));
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

/** @param {Reply | AliveReply | ClosedReply} reply */
function post(reply) {
  self.postMessage(reply);
}
