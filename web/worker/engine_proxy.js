/** The JavaScript face of oxillama_web/browser/worker.py: one model in this worker's Python. */

import { OxiLlamaError } from "../errors.js";
import { yieldToMessages } from "./yield.js";

/** @import { PyodideAPI } from "pyodide" */
/** @import { PyProxy } from "pyodide/ffi" */
/** @import { KernelPool } from "../kernels/pool.js" */
/** @import { ModelMemory } from "../kernels/model_memory.js" */
/** @import { AnswerOptions, AnswerStats, ChatMessage, ContextOptions } from "../protocol.js" */
/** @import { ModelInfo, Reply } from "../protocol.js" */

export class Session {
  #python;
  #call;
  #answer = new Answer();
  /** Bytes of the model that Python waits for. */
  #needed = 0;

  /** @param {PyodideAPI} pyodide */
  constructor(pyodide) {
    const browser = pyodide.pyimport("oxillama_web.browser.worker");
    /** @type {PyProxy} */
    this.#python = browser.Session(
      (
        /** @type {string} */ phase,
        /** @type {string} */ text,
        /** @type {number} */ done,
        /** @type {number} */ total,
        /** @type {string} */ finishReason,
        /** @type {string} */ logprobs,
      ) => this.#answer.record(phase, text, done, total, finishReason, logprobs),
    );
    this.#call = this.#python.call;
    browser.destroy();
  }

  /**
   * @param {KernelPool} pool  that the model comes into
   * @param {string | null} tokenizerJson
   * @param {ContextOptions} context
   */
  begin(pool, tokenizerJson, context) {
    this.#invoke("begin", pool, tokenizerJson ?? undefined, JSON.stringify(context));
  }

  /**
   * Lay the model out and pack it, as far as it has come.
   *
   * @param {ModelMemory} memory
   */
  receive({ address, received, size, starts }) {
    if (size === null || received < Math.min(this.#needed, size)) return;
    this.#needed = this.#invoke("receive", address, received, size, JSON.stringify(starts));
  }

  /**
   * All of the model was received.
   *
   * @returns {Pick<ModelInfo, "name" | "architecture" | "isEncoder" | "contextLength" |
   *   "contextSize" | "layers" | "hiddenSize" | "vocabularySize" | "executor" | "memoryBytes" |
   *   "kernels">}
   */
  load() {
    return JSON.parse(this.#invoke("load"));
  }

  /**
   * A model that stays on the device, but for so many bytes.
   *
   * @param {KernelPool} pool
   * @param {import("../storage/random_access_file.js").RandomAccessFile} file
   * @param {number} budget  bytes
   * @param {string | null} tokenizerJson
   * @param {ContextOptions} context
   * @returns {ReturnType<Session["load"]>}
   */
  loadPaged(pool, file, budget, tokenizerJson, context) {
    const vocabulary = tokenizerJson ?? undefined;
    const options = JSON.stringify(context);
    return JSON.parse(this.#invoke("load_paged", pool, file, budget, vocabulary, options));
  }

  /**
   * @param {string} prompt
   * @param {AnswerOptions} options
   */
  startPrompt(prompt, options) {
    this.#answer = new Answer();
    this.#invoke("start_prompt", prompt, JSON.stringify(options));
    this.#answer.cached = this.#invoke("context_tokens");
  }

  /**
   * @param {ChatMessage[]} messages
   * @param {AnswerOptions} options
   */
  startChat(messages, options) {
    this.#answer = new Answer();
    this.#invoke("start_chat", JSON.stringify(messages), JSON.stringify(options));
    this.#answer.cached = this.#invoke("context_tokens");
  }

  /**
   * Run the answer that was started to its end, posting pieces as they come.
   *
   * @param {number} id
   * @param {AbortSignal} signal
   * @param {(reply: Reply) => void} post
   * @returns {Promise<AnswerStats>}
   */
  async answer(id, signal, post) {
    for (;;) {
      await yieldToMessages();
      if (signal.aborted) {
        this.#invoke("stop");
        return this.#stats("aborted");
      }
      if (!this.#invoke("step")) return this.#stats();
      const { phase, text, done, total, logprobs } = this.#answer;
      if (phase === "prefill") post({ type: "prefill", id, done, total });
      if (logprobs !== "") post({ type: "logprobs", id, token: JSON.parse(logprobs) });
      if (text !== "") post({ type: "piece", id, text });
    }
  }

  /** @param {string} text */
  tokenize(text) {
    return /** @type {number[]} */ (JSON.parse(this.#invoke("tokenize", text)));
  }

  /**
   * @param {ChatMessage[]} messages
   * @returns {string}
   */
  renderChat(messages) {
    return this.#invoke("render_chat", JSON.stringify(messages));
  }

  /** @param {ChatMessage[]} messages */
  countChatTokens(messages) {
    return /** @type {number} */ (this.#invoke("count_chat_tokens", JSON.stringify(messages)));
  }

  /**
   * @param {string[]} texts
   * @param {import("../protocol.js").EmbedOptions} options
   * @returns {number[][]}
   */
  embed(texts, options) {
    return JSON.parse(this.#invoke("embed", JSON.stringify(texts), JSON.stringify(options)));
  }

  /** @returns {Uint8Array<ArrayBuffer>} */
  saveConversation() {
    const proxy = /** @type {import("pyodide/ffi").PyBuffer} */ (this.#invoke("save_conversation"));
    const buffer = proxy.getBuffer("u8");
    try {
      return new Uint8Array(buffer.data);
    } finally {
      buffer.release();
      proxy.destroy();
    }
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {number} tokens in the context
   */
  restoreConversation(bytes) {
    this.#invoke("restore_conversation", bytes);
    return this.#invoke("context_tokens");
  }

  /**
   * @param {Uint8Array} bytes
   * @param {number} scale
   */
  pushLora(bytes, scale) {
    this.#invoke("push_lora", bytes, scale);
  }

  clearLoras() {
    this.#invoke("clear_loras");
  }

  /** @returns {string} */
  metrics() {
    return this.#invoke("metrics");
  }

  reset() {
    this.#invoke("reset");
  }

  /**
   * @param {string} [finishReason]
   * @returns {AnswerStats}
   */
  #stats(finishReason) {
    return {
      ...this.#answer.stats(finishReason),
      contextTokens: this.#invoke("context_tokens"),
    };
  }

  /**
   * @param {string} method
   * @param {unknown[]} args
   */
  #invoke(method, ...args) {
    try {
      return this.#call(method, ...args);
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

/** What is known of the answer under way. Times are those of performance.now(). */
class Answer {
  phase = "";
  text = "";
  done = 0;
  total = 0;
  logprobs = "";
  /** Tokens of the prompt that were in the cache already. */
  cached = 0;
  #finishReason = "";
  #tokens = 0;
  #promptTokens = 0;
  #started = performance.now();
  #prefilled = 0;
  #firstToken = 0;
  #lastToken = 0;

  /**
   * @param {string} phase
   * @param {string} text
   * @param {number} done
   * @param {number} total
   * @param {string} finishReason
   * @param {string} logprobs  JSON, or ""
   */
  record(phase, text, done, total, finishReason, logprobs) {
    Object.assign(this, { phase, text, done, total, logprobs });
    this.#finishReason = finishReason;
    const now = performance.now();
    if (phase === "prefill") {
      this.#promptTokens = done;
      this.#prefilled = now;
      return;
    }
    if (done > 0 && this.#tokens === 0) this.#firstToken = now;
    if (done > this.#tokens) this.#lastToken = now;
    this.#tokens = done;
  }

  /**
   * @param {string} [finishReason]
   * @returns {Omit<AnswerStats, "contextTokens">}
   */
  stats(finishReason = this.#finishReason) {
    return {
      cachedTokens: this.cached,
      promptTokens: this.#promptTokens,
      tokens: this.#tokens,
      prefillTokensPerSecond: rate(this.#promptTokens, this.#prefilled - this.#started),
      decodeTokensPerSecond: rate(this.#tokens - 1, this.#lastToken - this.#firstToken),
      timeToFirstToken: this.#tokens > 0 ? this.#firstToken - this.#started : 0,
      finishReason,
    };
  }
}

/**
 * @param {number} count
 * @param {number} milliseconds
 */
function rate(count, milliseconds) {
  return milliseconds > 0 && count > 0 ? (count * 1000) / milliseconds : 0;
}
