/** Counts the tokens of an answer under way, and measures their times. */

/** @import { AnswerStats, TokenLogprobs } from "../protocol.js" */

/**
 * @typedef {object} AnswerStep
 * @property {"prefill" | "decode"} phase
 * @property {string} text
 * @property {number} done  tokens of the prompt, or of the answer
 * @property {number} total
 * @property {string | null} finishReason  null: the answer goes on
 * @property {TokenLogprobs | null} logprobs
 */

/** Times are those of performance.now(), in milliseconds. */
export class AnswerMeter {
  /** Tokens of the prompt that were in the cache already. */
  cachedTokens = 0;
  #finishReason = "";
  #promptTokens = 0;
  #tokens = 0;
  #started = performance.now();
  #prefilled = 0;
  #firstToken = 0;
  #lastToken = 0;

  /** @param {AnswerStep} step */
  record({ phase, done, finishReason }) {
    this.#finishReason = finishReason ?? "";
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
   * @param {number} contextTokens
   * @param {string} [finishReason]
   * @returns {AnswerStats}
   */
  stats(contextTokens, finishReason = this.#finishReason) {
    return {
      cachedTokens: this.cachedTokens,
      promptTokens: this.#promptTokens,
      tokens: this.#tokens,
      prefillTokensPerSecond: rate(this.#promptTokens, this.#prefilled - this.#started),
      decodeTokensPerSecond: rate(this.#tokens - 1, this.#lastToken - this.#firstToken),
      timeToFirstToken: this.#tokens > 0 ? this.#firstToken - this.#started : 0,
      contextTokens,
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
