/**
 * OxiLlama in a page: a GGUF language model that runs in a worker of this tab.
 *
 *     const llm = await OxiLlama.load({ model: "models/smollm2.gguf" });
 *     for await (const piece of llm.chat([{ role: "user", content: "Hello" }])) show(piece);
 *     llm.dispose();
 */

import { ASSETS } from "./assets.js";
import { checkArguments } from "./client/checks.js";
import { Connection } from "./client/connection.js";
import { modelFiles, readFile, toByteSource, transferable } from "./client/model_source.js";
import { OpenAIClient } from "./client/openai/client.js";
import { answerOptions, checkOptions, contextOptions } from "./client/options.js";
import { stream } from "./client/stream.js";
import { OxiLlamaError } from "./errors.js";
import { PROTOCOL_VERSION } from "./protocol.js";
import { cache } from "./storage/cache.js";

export { OxiLlamaError } from "./errors.js";

/**
 * @import { AnswerStats, ChatMessage, EmbedOptions, Methods, ModelInfo, RankedDocument,
 *   RerankOptions } from "./protocol.js"
 */

/**
 * @typedef {import("./client/model_source.js").Source} Source
 * @typedef {import("./client/options.js").ChatOptions} ChatOptions
 * @typedef {import("./client/options.js").GenerateOptions} GenerateOptions
 * @typedef {import("./client/options.js").LoadOptions} LoadOptions
 * @typedef {import("./protocol.js").LoadProgress} LoadProgress
 */

/**
 * The worker that `OxiLlama.prepare` has started.
 *
 * @type {Connection | null}
 */
let prewarmed = null;

export class OxiLlama {
  /**
   * The folder that worker, runtime and kernels are served from: this module's own. A page whose
   * bundler packs this module sets it to the page's copy of the package (docs/javascript.md).
   *
   * @type {string | URL}
   */
  static assets = ASSETS;

  /** The models from addresses that are kept on this device. */
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
  openai;

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
    this.openai = new OpenAIClient(connection, info);
  }

  /**
   * Start Python for the next `load`, which then takes less time. A page calls it when it opens, if
   * a model is likely to be loaded.
   */
  static prepare() {
    prewarmed ??= new Connection(OxiLlama.assets);
  }

  /**
   * Start a worker and load a model in it. If that fails, nothing is left behind.
   *
   * @param {LoadOptions} options
   * @returns {Promise<OxiLlama>}
   */
  static async load(options) {
    checkOptions("load", options);
    const { model, tokenizer, threads, onProgress, signal } = options;
    const context = contextOptions(options);
    if (signal?.aborted) throw aborted();
    const calledAt = performance.timeOrigin + performance.now();
    const connection = prewarmed ?? new Connection(OxiLlama.assets);
    prewarmed = null;
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
   * @returns {AsyncGenerator<string, void, void>} pieces of the answer as they are generated
   */
  generate(prompt, options = {}) {
    return this.#answer("generate", { prompt }, options);
  }

  /**
   * Answer the last message of a conversation, with the model's own chat template.
   *
   * @param {ChatMessage[]} messages
   * @param {ChatOptions} [options]
   * @returns {AsyncGenerator<string, void, void>} pieces of the answer as they are generated
   */
  chat(messages, options = {}) {
    return this.#answer("chat", { messages }, options);
  }

  /**
   * @param {string} text
   * @returns {Promise<number[]>} its token ids
   */
  tokenize(text) {
    return this.#call("tokenize", { text });
  }

  /**
   * @param {ChatMessage[]} messages
   * @returns {Promise<string>} the prompt that `chat` would continue
   */
  renderChat(messages) {
    return this.#call("renderChat", { messages });
  }

  /**
   * @param {string | ChatMessage[]} input  a text, or a conversation with its chat template
   * @returns {Promise<number>} how many tokens it has
   */
  async countTokens(input) {
    if (typeof input === "string") return (await this.tokenize(input)).length;
    return this.#call("countChatTokens", { messages: input });
  }

  /**
   * Compute a vector for each text, all in one pass. The conversation is not affected.
   *
   * @param {string[]} texts
   * @param {EmbedOptions} [options]  by default the model's own pooling, and `normalize` is true
   * @returns {Promise<number[][]>}
   */
  async embed(texts, options = {}) {
    checkOptions("embed", options);
    return this.#call("embed", { texts, options });
  }

  /**
   * Score documents against a query with a reranker, all in one pass. The conversation is not
   * affected.
   *
   * @param {string} query
   * @param {string[]} documents
   * @param {RerankOptions} [options]  `topN`: return only so many
   * @returns {Promise<RankedDocument[]>} the best document first
   */
  async rerank(query, documents, options = {}) {
    checkOptions("rerank", options);
    return this.#call("rerank", { query, documents, options });
  }

  /**
   * Return the conversation as bytes, which `restoreConversation` takes, now or after a reload, and
   * whose tokens are then not computed again.
   *
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  saveConversation() {
    return this.#call("saveConversation", {});
  }

  /**
   * Continue a conversation that `saveConversation` saved of the same model. Anything else is
   * refused, and the current conversation stays as it was.
   *
   * @param {Uint8Array} bytes
   * @returns {Promise<number>} how many tokens the conversation has
   */
  restoreConversation(bytes) {
    return this.#call("restoreConversation", { bytes });
  }

  /** @deprecated the earlier name of `saveConversation` */
  saveSession() {
    return this.saveConversation();
  }

  /**
   * @deprecated the earlier name of `restoreConversation`
   * @param {Uint8Array} bytes
   */
  loadSession(bytes) {
    return this.restoreConversation(bytes);
  }

  /**
   * Apply a LoRA adapter, a GGUF file in llama.cpp's format, and begin a new conversation.
   *
   * @param {Blob | ArrayBuffer | Uint8Array | string | URL} adapter
   * @param {{scale?: number}} [options]
   */
  async loadLora(adapter, options = {}) {
    checkOptions("loadLora", options);
    const bytes = await readFile(adapter);
    await this.#call("pushLora", { bytes, scale: options.scale ?? 1 });
  }

  /** Remove all LoRA adapters, and begin a new conversation. */
  async clearLoras() {
    await this.#call("clearLoras", {});
  }

  /** @returns {Promise<string>} what was done so far, in the text format that Prometheus reads */
  metrics() {
    return this.#call("metrics", {});
  }

  /** Begin a new conversation; the model stays loaded. */
  async reset() {
    await this.#call("reset", {});
    this.stats = null;
  }

  /** Terminate the worker and free the model's memory. Answers under way are rejected. */
  dispose() {
    this.#connection.close(disposed());
  }

  /**
   * Call a method of the model.
   *
   * @template {keyof Methods} Name
   * @param {Name} type
   * @param {Parameters<Methods[Name]>[0]} args
   * @returns {Promise<ReturnType<Methods[Name]>>}
   */
  async #call(type, args) {
    checkArguments(args);
    return this.#connection.call(type, args);
  }

  /**
   * @param {"generate" | "chat"} type
   * @param {object} args
   * @param {ChatOptions} options
   * @returns {AsyncGenerator<string, void, void>}
   */
  async *#answer(type, args, options) {
    checkArguments(args);
    const request = /** @type {any} */ ({ type, ...args, options: answerOptions(type, options) });
    const { signal, onPrefill, onDecode, onLogprobs } = options;
    yield* stream((/** @type {(piece: string) => void} */ push) => {
      const end = this.#connection.request(request, (reply) => {
        if (reply.type === "prefill") onPrefill?.(reply.done, reply.total);
        else if (reply.type === "logprobs") onLogprobs?.(reply.token);
        else if (reply.type === "piece") {
          onDecode?.(reply.tokens);
          push(reply.text);
        }
      });
      end.then((stats) => (this.stats = /** @type {AnswerStats} */ (stats)), () => {});
      return end;
    }, signal);
  }
}

function aborted() {
  return new OxiLlamaError({ code: "aborted", message: "loading was stopped" });
}

function disposed() {
  return new OxiLlamaError({ code: "disposed", message: "this model was disposed of" });
}
