/** Python's WorkerEngine (oxillama_web/browser/worker.py) for JavaScript. */

import { OxiLlamaError } from "../errors.js";
import { ANSWERS, METHODS, toSnakeCase } from "../protocol.js";
import { yieldToMessages } from "../yield.js";
import { AnswerMeter } from "./answer_meter.js";

/**
 * @import { PyodideAPI } from "pyodide"
 * @import { PyBuffer, PyProxy } from "pyodide/ffi"
 * @import { KernelPool } from "../kernels/pool.js"
 * @import { ModelMemory } from "../kernels/model_memory.js"
 * @import { AnswerRequest, AnswerStats, CallRequest, CompleteRequest, Completed, ContextOptions,
 *   EngineInfo, Reply } from "../protocol.js"
 * @import { RandomAccessFile } from "../storage/random_access_file.js"
 * @import { AnswerStep } from "./answer_meter.js"
 */

export class EngineProxy {
  /** @type {PyProxy} */
  #python;
  #call;
  /** Bytes of the model that Python waits for. */
  #needed = 0;

  /** @param {PyodideAPI} pyodide */
  constructor(pyodide) {
    const module = pyodide.pyimport("oxillama_web.browser.worker");
    this.#python = module.WorkerEngine();
    this.#call = this.#python.call;
    module.destroy();
  }

  /**
   * @param {KernelPool} pool  into whose memory the model comes
   * @param {Uint8Array | null} tokenizer  a tokenizer.json
   * @param {ContextOptions} context
   */
  begin(pool, tokenizer, context) {
    this.#invoke("begin", pool, tokenizer, context);
  }

  /**
   * Lay the model out and pack its weights, as far as it has arrived.
   *
   * @param {ModelMemory} memory
   */
  receive({ address, received, size, starts }) {
    if (size === null || received < Math.min(this.#needed, size)) return;
    this.#needed = this.#invoke("receive", address, received, size, starts);
  }

  /**
   * Load the model, all of which was received.
   *
   * @returns {EngineInfo}
   */
  load() {
    return this.#invoke("load");
  }

  /**
   * Load a model that stays on the device but for `budget` bytes of its weights.
   *
   * @param {KernelPool} pool
   * @param {RandomAccessFile} file
   * @param {number} budget
   * @param {Uint8Array | null} tokenizer  a tokenizer.json
   * @param {ContextOptions} context
   * @returns {EngineInfo}
   */
  loadPaged(pool, file, budget, tokenizer, context) {
    return this.#invoke("load_paged", pool, file, budget, tokenizer, context);
  }

  /**
   * @param {CallRequest} request
   * @returns {unknown} the result of its method
   */
  call(request) {
    return this.#invoke(toSnakeCase(request.type), ...values(request, METHODS[request.type]));
  }

  /**
   * Run an answer to its end, and post its pieces as they come.
   *
   * @param {AnswerRequest} request
   * @param {AbortSignal} signal
   * @param {(reply: Reply) => void} post
   * @returns {Promise<AnswerStats>}
   */
  async answer(request, signal, post) {
    const { id, type } = request;
    const meter = new AnswerMeter();
    meter.cachedTokens = this.#invoke(`start_${type}`, ...values(request, ANSWERS[type]));
    for (;;) {
      await yieldToMessages();
      if (signal.aborted) {
        this.#invoke("stop");
        return meter.stats(this.#invoke("context_tokens"), "aborted");
      }
      /** @type {AnswerStep | null} */
      const step = this.#invoke("step");
      if (step === null) return meter.stats(this.#invoke("context_tokens"));
      meter.record(step);
      const { phase, text, done, total, logprobs } = step;
      if (phase === "prefill") post({ type: "prefill", id, done, total });
      if (logprobs !== null) post({ type: "logprobs", id, token: logprobs });
      if (text !== "") post({ type: "piece", id, text, tokens: done });
    }
  }

  /**
   * Answer a request of OpenAI's API, and post its chunks as they come.
   *
   * @param {CompleteRequest} request
   * @param {AbortSignal} signal
   * @param {(reply: Reply) => void} post
   * @returns {Promise<Completed>}
   */
  async complete({ id, path, params }, signal, post) {
    const started = this.#invoke("start_completion", id, path, params);
    if (started !== null) return started;
    post({ type: "chunks", id, chunks: [] });
    for (;;) {
      await yieldToMessages();
      if (signal.aborted) this.#invoke("stop_completion", id); // its next step is the last one
      /** @type {{chunks: object[]} | Completed} */
      const step = this.#invoke("step_completion", id);
      if (!("chunks" in step)) return step;
      if (step.chunks.length > 0) post({ type: "chunks", id, chunks: step.chunks });
    }
  }

  /**
   * @param {string} method
   * @param {unknown[]} args
   */
  #invoke(method, ...args) {
    try {
      return decode(this.#call(method, ...args.map(encode)));
    } catch (error) {
      throw this.#translate(error);
    }
  }

  /** @param {unknown} error */
  #translate(error) {
    if (!(error instanceof Error) || error.name !== "PythonError") {
      return new OxiLlamaError({
        code: "worker_died",
        message: "the engine crashed; load the model again",
        detail: error instanceof Error ? `${error.message}\n${error.stack}` : String(error),
      });
    }
    const { code, type, message, detail } = JSON.parse(this.#python.failure);
    return new OxiLlamaError({ code, message: `${type}: ${message}`, detail });
  }
}

/**
 * @param {object} request
 * @param {readonly string[]} names
 * @returns {unknown[]} the members of these names
 */
function values(request, names) {
  return names.map((name) => /** @type {Record<string, unknown>} */ (request)[name]);
}

/** @param {unknown} value  that Python takes as JSON, or as it is if it is not plain data */
function encode(value) {
  const isData = typeof value === "string" || Array.isArray(value) || value?.constructor === Object;
  return isData ? JSON.stringify(value) : (value ?? undefined);
}

/** @param {string | PyBuffer} result  JSON or bytes */
function decode(result) {
  if (typeof result === "string") return JSON.parse(result);
  const buffer = result.getBuffer("u8");
  try {
    return new Uint8Array(buffer.data);
  } finally {
    buffer.release();
    result.destroy();
  }
}
