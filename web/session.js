/** The JavaScript face of oxillama_web/browser.py: one model in this worker's Python. */

import { OxiLlamaError } from "./protocol.js";

/** @import { PyodideAPI } from "pyodide" */
/** @import { PyBuffer, PyProxy } from "pyodide/ffi" */
/** @import { AnswerOptions, AnswerStats, ChatMessage, ModelInfo, Reply } from "./protocol.js" */

/** Memory for a model whose size nobody told; it doubles as needed. */
const FIRST_GUESS_BYTES = 64 * 1024 * 1024;

export class Session {
  #python;
  #call;
  #answer = new Answer();

  /** @param {PyodideAPI} pyodide */
  constructor(pyodide) {
    const browser = pyodide.pyimport("oxillama_web.browser");
    /** @type {PyProxy} */
    this.#python = browser.Session(
      (
        /** @type {string} */ phase,
        /** @type {string} */ text,
        /** @type {number} */ done,
        /** @type {number} */ total,
        /** @type {string} */ finishReason,
      ) => this.#answer.record(phase, text, done, total, finishReason),
    );
    this.#call = this.#python.call;
    browser.destroy();
  }

  /**
   * @param {number | null} size
   * @returns {ModelMemory}
   */
  memory(size) {
    return new ModelMemory(
      size ?? FIRST_GUESS_BYTES,
      (bytes) => this.#invoke("allocate", bytes),
      () => this.#python.buffer,
    );
  }

  /**
   * @param {string | null} tokenizerJson
   * @param {number | null} contextSize
   * @returns {Omit<ModelInfo, "heapBytes" | "startup">}
   */
  load(tokenizerJson, contextSize) {
    return JSON.parse(this.#invoke("load", tokenizerJson ?? undefined, contextSize ?? undefined));
  }

  /**
   * @param {string} prompt
   * @param {AnswerOptions} options
   */
  startPrompt(prompt, options) {
    this.#answer = new Answer();
    this.#invoke("start_prompt", prompt, JSON.stringify(options));
  }

  /**
   * @param {ChatMessage[]} messages
   * @param {AnswerOptions} options
   */
  startChat(messages, options) {
    this.#answer = new Answer();
    this.#invoke("start_chat", JSON.stringify(messages), JSON.stringify(options));
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
      const { phase, text, done, total } = this.#answer;
      if (phase === "prefill") post({ type: "prefill", id, done, total });
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
   */
  record(phase, text, done, total, finishReason) {
    Object.assign(this, { phase, text, done, total });
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

/** Python memory that model bytes are written into without a copy in between. */
class ModelMemory {
  #allocate;
  #buffer;
  #size;
  /** @type {PyBuffer | null} */
  #view = null;

  /**
   * @param {number} size
   * @param {(bytes: number) => void} allocate
   * @param {() => PyProxy} buffer
   */
  constructor(size, allocate, buffer) {
    this.#size = size;
    this.#allocate = allocate;
    this.#buffer = buffer;
    allocate(size);
  }

  /**
   * @param {Uint8Array} chunk
   * @param {number} offset
   */
  write(chunk, offset) {
    const end = offset + chunk.length;
    if (end > this.#size) this.#resize(Math.max(end, 2 * this.#size));
    this.#bytes().set(chunk, offset);
  }

  /** @param {number} received  bytes; what lies behind them is given back */
  finish(received) {
    if (received === this.#size) this.#release();
    else this.#resize(received);
  }

  /** The view goes stale whenever Python's heap grows: its length is then 0. */
  #bytes() {
    if (this.#view === null || this.#view.data.byteLength === 0) {
      this.#release();
      const proxy = this.#buffer();
      this.#view = proxy.getBuffer("u8");
      proxy.destroy();
    }
    return /** @type {PyBuffer} */ (this.#view).data;
  }

  /** @param {number} size */
  #resize(size) {
    this.#release();
    this.#allocate(size);
    this.#size = size;
  }

  /** Python cannot resize or hand over memory that JavaScript still looks at. */
  #release() {
    this.#view?.release();
    this.#view = null;
  }
}

const channel = new MessageChannel();

/**
 * Let waiting messages in, at once: a timer would be held back by milliseconds.
 *
 * @returns {Promise<void>}
 */
function yieldToMessages() {
  return new Promise((resolve) => {
    channel.port1.onmessage = () => resolve();
    channel.port2.postMessage(0);
  });
}
