/**
 * OxiLlama in a page: a GGUF language model that runs in a worker of this tab.
 *
 *     const llm = await OxiLlama.load({ model: "models/smollm2.gguf" });
 *     for await (const piece of llm.chat([{ role: "user", content: "Hello" }])) show(piece);
 *     llm.dispose();
 */

import { ASSETS } from "./assets.js";
import { Connection } from "./client/connection.js";
import { modelFiles, toByteSource, transferable } from "./client/model_source.js";
import { OpenAIClient } from "./client/openai/client.js";
import { answerOptions, contextOptions } from "./client/options.js";
import { OxiLlamaError } from "./errors.js";
import { PROTOCOL_VERSION } from "./protocol.js";
import { cache } from "./storage/cache.js";

export { OxiLlamaError } from "./errors.js";

/**
 * @import { Unnumbered } from "./client/connection.js"
 * @import { AnswerStats, ChatMessage, ModelInfo, Request } from "./protocol.js"
 */

/**
 * @typedef {import("./client/model_source.js").Source} Source
 *
 * @typedef {import("./protocol.js").LoadProgress} LoadProgress
 *
 * @typedef {object} LoadOptions
 * @property {Source | Source[]} model  a GGUF file; of a model in several files the address of the
 *   first (...-00001-of-00003.gguf), or a list of all
 * @property {Source} [tokenizer]  a tokenizer.json to use instead of the file's own vocabulary
 * @property {number} [contextSize]  most tokens that a conversation may have
 * @property {"stop" | "shift"} [contextFull]  what happens when it has so many. "stop", which is
 *   the default: the answer ends, with `stats.finishReason` "context", and a prompt that does not
 *   fit is refused. "shift": the older half is forgotten, and the answer goes on
 * @property {number} [contextKeep]  with "shift": how many of the first tokens are never forgotten
 * @property {number} [threads]  left out: as many as help, up to 4. One, unless the page is
 *   cross-origin isolated; `info.threads` and `info.threadsNote` tell.
 * @property {import("./protocol.js").CacheMode} [cache]  models that come from an address are kept
 *   on this device, and used without asking their server ("use"). "check": the server is asked
 *   first, if it can be reached, whether it has another version. "off": nothing is kept or used
 * @property {number} [memoryBudget]  most bytes of weights in memory: the others are read from the
 *   device each time they are needed, which is slow, and works with any size. The model must be a
 *   File or Blob, or be kept in the cache; left out: all of it is in memory
 * @property {(progress: LoadProgress) => void} [onProgress]
 * @property {AbortSignal} [signal]  stops the loading, which rejects with code "aborted"
 *
 * @typedef {import("./client/options.js").GenerateOptions} GenerateOptions
 *
 * @typedef {import("./client/options.js").ChatOptions} ChatOptions
 */

export class OxiLlama {
  /**
   * The folder that worker, runtime and kernels are served from: this module's own. A page that a
   * bundler has put together sets it to its copy of the package (docs/javascript.md).
   *
   * @type {string | URL}
   */
  static assets = ASSETS;

  /** Models that are kept on this device, once they came from an address. */
  static cache = cache;

  #connection;

  /**
   * What the file and the browser say of the model.
   *
   * @readonly
   */
  info;

  /**
   * The API of OpenAI's client: `llm.openai.chat.completions.create({...})`.
   *
   * @readonly
   */
  openai = new OpenAIClient(this);

  /**
   * Speed and end of the last answer.
   *
   * @type {AnswerStats | null}
   */
  stats = null;

  /**
   * @param {Connection} connection
   * @param {ModelInfo} info
   */
  constructor(connection, info) {
    this.#connection = connection;
    this.info = info;
  }

  /**
   * Start Python for the next `load`, which then takes less time. A page calls it when it opens, if
   * someone is likely to choose a model.
   */
  static prepare() {
    spare ??= new Connection(OxiLlama.assets);
  }

  /**
   * Start a worker and load a model in it. When that fails, nothing is left behind.
   *
   * @param {LoadOptions} options
   * @returns {Promise<OxiLlama>}
   */
  static async load(options) {
    const { model, tokenizer, threads, onProgress, signal } = options;
    const context = contextOptions(options);
    if (signal?.aborted) throw aborted();
    const calledAt = performance.timeOrigin + performance.now();
    const connection = spare ?? new Connection(OxiLlama.assets);
    spare = null;
    const stop = () => connection.close(aborted());
    signal?.addEventListener("abort", stop);
    try {
      const files = modelFiles(model);
      const vocabulary = tokenizer === undefined ? null : toByteSource(tokenizer, "tokenizer");
      const info = await connection.request(
        {
          type: "load",
          version: PROTOCOL_VERSION,
          calledAt,
          model: files,
          tokenizer: vocabulary,
          context,
          threads: threads ?? null,
          cache: options.cache ?? "use",
          memoryBudget: options.memoryBudget ?? null,
        },
        (reply) => {
          if (reply.type === "progress") onProgress?.(reply.progress);
        },
        transferable([...files, vocabulary]),
      );
      return new OxiLlama(connection, /** @type {ModelInfo} */ (info));
    } catch (error) {
      connection.close(disposed());
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /**
   * Continue a text.
   *
   * @param {string} prompt
   * @param {GenerateOptions} [options]
   * @returns {AsyncGenerator<string, void, void>} pieces of the answer as they are made
   */
  generate(prompt, options = {}) {
    return this.#answer({ type: "generate", prompt, options: answerOptions(options) }, options);
  }

  /**
   * Answer the last message of a conversation, with the model's own chat template.
   *
   * @param {ChatMessage[]} messages
   * @param {ChatOptions} [options]
   * @returns {AsyncGenerator<string, void, void>} pieces of the answer as they are made
   */
  chat(messages, options = {}) {
    return this.#answer({ type: "chat", messages, options: answerOptions(options) }, options);
  }

  /**
   * @param {string} text
   * @returns {Promise<number[]>} its token ids
   */
  async tokenize(text) {
    return /** @type {number[]} */ (await this.#connection.request({ type: "tokenize", text }));
  }

  /**
   * @param {ChatMessage[]} messages
   * @returns {Promise<string>} the prompt that `chat` would continue
   */
  async renderChat(messages) {
    return /** @type {string} */ (await this.#connection.request({ type: "renderChat", messages }));
  }

  /**
   * @param {string | ChatMessage[]} input  a text, or a conversation with its chat template
   * @returns {Promise<number>} how many tokens it has
   */
  async countTokens(input) {
    if (typeof input === "string") return (await this.tokenize(input)).length;
    const request = /** @type {const} */ ({ type: "countChatTokens", messages: input });
    return /** @type {number} */ (await this.#connection.request(request));
  }

  /**
   * Texts as vectors, all in one pass. The conversation goes on undisturbed.
   *
   * @param {string[]} texts
   * @param {import("./protocol.js").EmbedOptions} [options]  pooling: the model's own choice;
   *   normalize: true
   * @returns {Promise<number[][]>}
   */
  async embed(texts, options = {}) {
    const request = /** @type {const} */ ({ type: "embed", texts, options });
    return /** @type {number[][]} */ (await this.#connection.request(request));
  }

  /**
   * The conversation as bytes, which `loadSession` takes, now or after a reload: its tokens are
   * not computed again then.
   *
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async saveSession() {
    const bytes = await this.#connection.request({ type: "saveSession" });
    return /** @type {Uint8Array<ArrayBuffer>} */ (bytes);
  }

  /**
   * Go on from what `saveSession` gave, with the same model. Anything else is refused, and the
   * conversation stays as it was.
   *
   * @param {Uint8Array} bytes
   * @returns {Promise<number>} how many tokens the conversation has
   */
  async loadSession(bytes) {
    const request = /** @type {const} */ ({ type: "loadSession", bytes });
    return /** @type {number} */ (await this.#connection.request(request));
  }

  /**
   * Apply a LoRA adapter, a GGUF file in llama.cpp's format. The conversation begins anew.
   *
   * @param {Blob | ArrayBuffer | Uint8Array | string | URL} adapter
   * @param {{scale?: number}} [options]
   */
  async loadLora(adapter, { scale = 1 } = {}) {
    const bytes = await readAdapter(adapter);
    await this.#connection.request({ type: "pushLora", bytes, scale });
  }

  /** Take all LoRA adapters away. The conversation begins anew. */
  async clearLoras() {
    await this.#connection.request({ type: "clearLoras" });
  }

  /** @returns {Promise<string>} what was done so far, in the text format that Prometheus reads */
  async metrics() {
    return /** @type {string} */ (await this.#connection.request({ type: "metrics" }));
  }

  /** Forget the conversation so far; the model stays loaded. */
  async reset() {
    await this.#connection.request({ type: "reset" });
    this.stats = null;
  }

  /** End the worker and free the model's memory. Answers under way are rejected. */
  dispose() {
    this.#connection.close(disposed());
  }

  /**
   * @param {Unnumbered<Request>} request
   * @param {GenerateOptions} options
   * @returns {AsyncGenerator<string, void, void>}
   */
  async *#answer(request, { signal, onPrefill, onLogprobs }) {
    /** @type {string[]} */
    const pieces = [];
    let wake = () => {};
    let running = true;
    const end = this.#connection.request(request, (reply) => {
      if (reply.type === "piece") pieces.push(reply.text);
      else if (reply.type === "prefill") onPrefill?.(reply.done, reply.total);
      else if (reply.type === "logprobs") onLogprobs?.(reply.token);
      wake();
    });
    const settled = end.then(
      (stats) => {
        this.stats = /** @type {AnswerStats} */ (stats);
      },
      () => {},
    ).then(() => {
      running = false;
      wake();
    });
    const stop = () => end.abort();
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
    try {
      while (running || pieces.length > 0) {
        const piece = pieces.shift();
        if (piece !== undefined) yield piece;
        else await new Promise((resolve) => (wake = () => resolve(undefined)));
      }
      await end;
    } finally {
      signal?.removeEventListener("abort", stop);
      if (running) stop();
      await settled;
    }
  }
}

/** @type {Connection | null} */
let spare = null;

/**
 * @param {Blob | ArrayBuffer | Uint8Array | string | URL} adapter
 * @returns {Promise<Uint8Array>}
 */
async function readAdapter(adapter) {
  if (adapter instanceof Uint8Array) return adapter;
  if (adapter instanceof ArrayBuffer) return new Uint8Array(adapter);
  if (adapter instanceof Blob) return new Uint8Array(await adapter.arrayBuffer());
  const response = await fetch(adapter).catch((error) => {
    const message = `${adapter}: ${error instanceof Error ? error.message : error}`;
    throw new OxiLlamaError({ code: "network", message });
  });
  if (!response.ok) {
    const { status } = response;
    const message = `the server answered ${status} for ${adapter}`;
    throw new OxiLlamaError({ code: "http", message, status });
  }
  return new Uint8Array(await response.arrayBuffer());
}

function aborted() {
  return new OxiLlamaError({ code: "aborted", message: "loading was stopped" });
}

function disposed() {
  return new OxiLlamaError({ code: "disposed", message: "this model was disposed of" });
}
