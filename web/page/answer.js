/** One message on the page; an answer while it is written. */

import { make, makeButton } from "./dom.js";
import { asMarkdown } from "./pretty_json.js";
import { MarkdownView, copyText } from "./markdown.js";

/** @import { AnswerStats } from "../protocol.js" */

/** This close to the end, in pixels, the view follows the text. */
const FOLLOW_DISTANCE = 80;

/**
 * @typedef {object} MessageActions  what a click on a message's buttons does
 * @property {(index: number) => void} edit
 * @property {(index: number) => void} regenerate
 */

/**
 * What the user wrote.
 *
 * @param {string} text
 * @param {number} index  of the message in its conversation
 * @param {MessageActions} actions
 */
export function userMessage(text, index, actions) {
  const element = messageElement("user", text);
  const copy = makeButton("quiet", "Copy", () => void copyText(text, copy));
  element.append(
    make("div", "tools", copy, makeButton("quiet", "Edit", () => actions.edit(index))),
  );
  return element;
}

/** One answer: grows while it is written, then offers to be copied and to be written anew. */
export class AnswerView {
  text = "";
  element = messageElement("assistant", "");
  #log;
  #markdown;
  #stats = make("p", "stats");
  /** @type {HTMLElement | null} */
  #note = null;
  #frame = 0;
  #firstPiece = 0;
  #pieces = 0;

  /** @param {HTMLElement} log */
  constructor(log) {
    this.#log = log;
    this.#markdown = new MarkdownView(
      /** @type {HTMLElement} */ (this.element.querySelector(".text")),
    );
    // read out once, when the answer is whole
    this.#stats.setAttribute("aria-live", "off");
    this.element.setAttribute("aria-busy", "true");
    this.element.append(this.#stats);
    log.append(this.element);
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
    this.#note = make("p", "stats", text);
    this.element.prepend(this.#note);
  }

  /**
   * @param {AnswerStats | null} stats  null for an answer of an earlier visit
   * @param {number} index  of the message in its conversation
   * @param {MessageActions} actions
   */
  finish(stats, index, actions) {
    const follows = this.#isAtEnd();
    this.#end();
    this.#stats.textContent = stats === null ? "" : summary(stats);
    const copy = makeButton("quiet", "Copy", () => void copyText(this.text, copy));
    const again = makeButton("quiet", "Write anew", () => actions.regenerate(index));
    this.element.append(make("div", "tools", copy, again));
    if (follows) this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** @param {string} message */
  fail(message) {
    this.#end();
    this.#stats.remove();
    this.#note?.remove(); // it told how the answer would be
    const notice = make("p", "notice", message);
    notice.setAttribute("role", "alert");
    this.element.append(notice);
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #end() {
    cancelAnimationFrame(this.#frame);
    this.#show();
    this.element.setAttribute("aria-busy", "false");
  }

  #show() {
    this.#frame = 0;
    const follows = this.#isAtEnd();
    this.#markdown.update(asMarkdown(this.text));
    if (this.#pieces > 1) {
      const seconds = (performance.now() - this.#firstPiece) / 1000;
      this.#stats.textContent = `${((this.#pieces - 1) / seconds).toFixed(1)} tokens/s`;
    }
    if (follows) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < FOLLOW_DISTANCE;
  }
}

/** @param {AnswerStats} stats */
function summary(stats) {
  const { tokens, promptTokens, cachedTokens, finishReason } = stats;
  const { decodeTokensPerSecond, timeToFirstToken } = stats;
  const parts = [`${tokens} ${tokens === 1 ? "token" : "tokens"}`];
  if (decodeTokensPerSecond > 0) parts.unshift(`${decodeTokensPerSecond.toFixed(1)} tokens/s`);
  if (tokens > 0) parts.push(`first after ${(timeToFirstToken / 1000).toFixed(2)} s`);
  const remembered = cachedTokens > 0 ? `, ${cachedTokens} remembered` : "";
  parts.push(`${promptTokens} ${promptTokens === 1 ? "token" : "tokens"} read${remembered}`);
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
  const element = make("article", `message ${role}`, make("div", "text", text));
  element.setAttribute("aria-label", role === "user" ? "You" : "Model");
  return element;
}
