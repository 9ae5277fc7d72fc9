/** The conversation on the page: its messages, and the answer that is being written. */

import { OxiLlamaError } from "./oxillama.js";

/** @import { OxiLlama, GenerateOptions } from "./oxillama.js" */
/** @import { AnswerStats, ChatMessage } from "./protocol.js" */

/** This close to the end, in pixels, the view follows the text. */
const FOLLOW_DISTANCE = 80;

export class Conversation {
  #llm;
  #log;
  /** @type {ChatMessage[]} */
  #messages = [];
  /** @type {AbortController | null} */
  #abort = null;
  /** @type {Promise<void>} */
  #answering = Promise.resolve();
  #hasTemplate = true;

  /**
   * @param {OxiLlama} llm
   * @param {HTMLElement} log
   */
  constructor(llm, log) {
    this.#llm = llm;
    this.#log = log;
  }

  get busy() {
    return this.#abort !== null;
  }

  /**
   * Show the user's message and stream the model's answer to it. Errors are told in the page.
   *
   * @param {string} text
   * @param {string} instructions
   * @param {GenerateOptions} options
   * @returns {Promise<void>}
   */
  send(text, instructions, options) {
    this.#abort = new AbortController();
    this.#answering = this.#answer(text, instructions, { ...options, signal: this.#abort.signal });
    return this.#answering.finally(() => (this.#abort = null));
  }

  stop() {
    this.#abort?.abort();
  }

  /** Forget everything. */
  async clear() {
    this.stop();
    await this.#answering;
    await this.#llm.reset();
    this.#messages = [];
    for (const message of this.#log.querySelectorAll(".message")) message.remove();
  }

  /**
   * @param {string} text
   * @param {string} instructions
   * @param {GenerateOptions} options
   */
  async #answer(text, instructions, options) {
    if (this.#messages.length === 0 && instructions !== "") {
      this.#messages.push({ role: "system", content: instructions });
    }
    this.#messages.push({ role: "user", content: text });
    this.#log.append(messageElement("user", text));
    const view = new AnswerView(this.#log);
    try {
      await this.#stream(text, view, options);
      this.#messages.push({ role: "assistant", content: view.text });
      view.finish(this.#llm.stats);
    } catch (error) {
      // the question goes with its answer, so that the next one can be asked
      this.#messages.pop();
      view.fail(describe(error));
    }
  }

  /**
   * @param {string} text
   * @param {AnswerView} view
   * @param {GenerateOptions} options
   */
  async #stream(text, view, options) {
    const onPrefill = (/** @type {number} */ done, /** @type {number} */ total) =>
      view.reading(done, total);
    if (this.#hasTemplate) {
      try {
        for await (const piece of this.#llm.chat(this.#messages, { ...options, onPrefill })) {
          view.add(piece);
        }
        return;
      } catch (error) {
        if (!(error instanceof OxiLlamaError && error.code === "chat_template")) throw error;
        this.#hasTemplate = false;
        view.note("This model was not trained to chat: it continues your text instead.");
      }
    }
    for await (const piece of this.#llm.generate(text, { ...options, onPrefill })) view.add(piece);
  }
}

/** One answer while it is written. */
class AnswerView {
  text = "";
  #log;
  #element = messageElement("assistant", "");
  #body;
  #stats = document.createElement("p");
  #shown = 0;
  #frame = 0;
  #firstPiece = 0;
  #pieces = 0;

  /** @param {HTMLElement} log */
  constructor(log) {
    this.#log = log;
    this.#body = /** @type {HTMLElement} */ (this.#element.querySelector(".text"));
    this.#stats.className = "stats";
    // read out once, when the answer is whole
    this.#stats.setAttribute("aria-live", "off");
    this.#element.setAttribute("aria-busy", "true");
    this.#element.append(this.#stats);
    log.append(this.#element);
    log.scrollTop = log.scrollHeight;
  }

  /**
   * @param {number} done
   * @param {number} total
   */
  reading(done, total) {
    if (done < total) this.#stats.textContent = `Reading: ${done} of ${total} tokens`;
  }

  /** @param {string} piece */
  add(piece) {
    if (this.#pieces === 0) this.#firstPiece = performance.now();
    this.#pieces += 1;
    this.text += piece;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  /** @param {string} text */
  note(text) {
    const note = document.createElement("p");
    note.className = "stats";
    note.textContent = text;
    this.#element.prepend(note);
  }

  /** @param {AnswerStats | null} stats */
  finish(stats) {
    this.#end();
    if (stats !== null) this.#stats.textContent = summary(stats);
  }

  /** @param {string} message */
  fail(message) {
    this.#end();
    this.#stats.remove();
    const notice = document.createElement("p");
    notice.className = "notice";
    notice.setAttribute("role", "alert");
    notice.textContent = message;
    this.#element.append(notice);
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #end() {
    cancelAnimationFrame(this.#frame);
    this.#show();
    this.#element.setAttribute("aria-busy", "false");
  }

  #show() {
    this.#frame = 0;
    const log = this.#log;
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight < FOLLOW_DISTANCE;
    this.#body.append(this.text.slice(this.#shown));
    this.#shown = this.text.length;
    if (this.#pieces > 1) {
      const seconds = (performance.now() - this.#firstPiece) / 1000;
      this.#stats.textContent = `${((this.#pieces - 1) / seconds).toFixed(1)} tokens/s`;
    }
    if (follows) log.scrollTop = log.scrollHeight;
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function describe(error) {
  if (error instanceof OxiLlamaError && error.code === "context_length") {
    return "The conversation is longer than the model can take in. Start a new chat.";
  }
  const message = error instanceof Error ? error.message : String(error);
  return message.charAt(0).toUpperCase() + message.slice(1);
}

/** @param {AnswerStats} stats */
function summary({ tokens, decodeTokensPerSecond, timeToFirstToken, finishReason }) {
  const parts = [`${tokens} ${tokens === 1 ? "token" : "tokens"}`];
  if (decodeTokensPerSecond > 0) parts.unshift(`${decodeTokensPerSecond.toFixed(1)} tokens/s`);
  if (tokens > 0) parts.push(`first after ${(timeToFirstToken / 1000).toFixed(2)} s`);
  if (finishReason === "aborted") parts.push("stopped");
  if (finishReason === "length") parts.push("longest answer reached");
  if (finishReason === "context") parts.push("the model's memory is full");
  return parts.join(" · ");
}

/**
 * @param {"user" | "assistant"} role
 * @param {string} text
 */
function messageElement(role, text) {
  const element = document.createElement("article");
  element.className = `message ${role}`;
  element.setAttribute("aria-label", role === "user" ? "You" : "Model");
  const body = document.createElement("div");
  body.className = "text";
  body.textContent = text;
  element.append(body);
  return element;
}
