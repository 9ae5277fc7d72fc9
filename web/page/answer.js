/** One message on the page; an answer while it is generated. */

import { make, makeButton } from "./dom.js";
import { MarkdownView, copyText } from "./markdown.js";
import { asMarkdown } from "./pretty_json.js";

/** @import { AnswerStats } from "../protocol.js" */

/** The view follows the text if it is this close to the end, in pixels. */
const FOLLOW_DISTANCE = 80;

/**
 * @typedef {object} MessageActions  what the buttons of a message do
 * @property {(index: number) => void} edit
 * @property {(index: number) => void} regenerate
 */

/**
 * Make the element of what the user wrote.
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

/** One answer: it grows while it is generated, and can then be copied or regenerated. */
export class AnswerView {
  text = "";
  element = messageElement("assistant", "");
  #log;
  #markdown;
  #stats = make("p", "stats");
  /** @type {HTMLElement | null} */
  #note = null;
  #frame = 0;
  /** Tokens of the answer so far, and of those the ones that came first, at `#started`. */
  #tokens = 0;
  #firstTokens = 0;
  #started = 0;

  /** @param {HTMLElement} log */
  constructor(log) {
    this.#log = log;
    this.#markdown = new MarkdownView(
      /** @type {HTMLElement} */ (this.element.querySelector(".text")),
    );
    // screen readers read it once, when the answer is complete
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
  prefill(done, total) {
    if (done < total) this.#stats.textContent = `Reading: ${done} of ${total} tokens`;
  }

  /** @param {number} tokens  of the answer so far */
  decode(tokens) {
    if (this.#firstTokens === 0) {
      this.#firstTokens = tokens;
      this.#started = performance.now();
    }
    this.#tokens = tokens;
  }

  /** @param {string} piece */
  add(piece) {
    this.text += piece;
    // for programs that follow an answer, as tools/demo_once.py does
    this.element.dispatchEvent(new CustomEvent("answerpiece", { detail: piece, bubbles: true }));
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  /** @param {string} text  to show above the answer */
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
    const regenerate = makeButton("quiet", "Regenerate", () => actions.regenerate(index));
    this.element.append(make("div", "tools", copy, regenerate));
    if (follows) this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** @param {string} message */
  fail(message) {
    this.#end();
    this.#stats.remove();
    this.#note?.remove(); // it is about the answer, which does not come
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
    if (this.#tokens > this.#firstTokens) {
      const seconds = (performance.now() - this.#started) / 1000;
      const speed = (this.#tokens - this.#firstTokens) / seconds;
      this.#stats.textContent = `${speed.toFixed(1)} tokens/s`;
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
