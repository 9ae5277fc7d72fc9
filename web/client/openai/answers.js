/** Completions under way, which are returned as a whole or in chunks. */

import { toAPIError } from "./errors.js";
import { ToolCallParser, parseForcedCall } from "./tool_calls.js";

/** @import { AnswerStats, TokenLogprobs } from "../../protocol.js" */
/** @import { ChatParams, SamplingParams } from "./params.js" */
/** @import { FunctionTool, ToolCall } from "./tool_calls.js" */

/**
 * @typedef {object} Header
 * @property {string} id
 * @property {string} object
 * @property {number} created
 * @property {string} model
 */

/** A chat completion under way. */
export class ChatAnswer {
  #header;
  #forced;
  #parser;
  #wantsLogprobs;
  #content = "";
  /** @type {object[]} */
  #logprobs = [];
  /** How many of them were in a chunk already. */
  #reported = 0;
  #hasBegun = false;

  /**
   * @param {Header} header
   * @param {FunctionTool[]} forced  the tools of which one must be called
   * @param {ChatParams} params
   */
  constructor(header, forced, params) {
    this.#header = header;
    this.#forced = forced;
    this.#parser = new ToolCallParser(params.tools !== undefined && params.tool_choice !== "none");
    this.#wantsLogprobs = params.logprobs === true;
  }

  /** @param {TokenLogprobs} token */
  addLogprobs({ top, ...token }) {
    this.#logprobs.push({ ...token, top_logprobs: top });
  }

  /**
   * @param {string} piece
   * @returns {object[]} chunks
   */
  add(piece) {
    const text = this.#forced.length > 0 ? piece : this.#parser.push(piece);
    this.#content += text;
    return text === "" || this.#forced.length > 0 ? [] : [this.#chunk({ content: text }, null)];
  }

  /**
   * @param {AnswerStats} stats
   * @returns {object[]} the last chunks
   */
  end(stats) {
    const rest = this.#forced.length > 0 ? "" : this.#parser.finish();
    this.#content += rest;
    const calls = this.#toolCalls();
    const chunks = rest === "" ? [] : [this.#chunk({ content: rest }, null)];
    if (calls.length > 0) {
      const indexed = calls.map((call, index) => ({ index, ...call }));
      chunks.push(this.#chunk({ tool_calls: indexed }, null));
    }
    return [...chunks, this.#chunk({}, finishReason(stats, calls))];
  }

  /**
   * @param {AnswerStats} stats
   * @returns {object} the completion as a whole
   */
  whole(stats) {
    const calls = this.#toolCalls();
    const hasText = this.#content !== "" && this.#forced.length === 0;
    const message = {
      role: "assistant",
      content: hasText || calls.length === 0 ? this.#content : null,
      refusal: null,
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    };
    const logprobs = this.#wantsLogprobs ? { content: this.#logprobs, refusal: null } : null;
    const choice = { index: 0, message, logprobs, finish_reason: finishReason(stats, calls) };
    return { ...this.#header, choices: [choice], usage: usage(stats) };
  }

  /** @param {AnswerStats} stats */
  usageChunk(stats) {
    const object = "chat.completion.chunk";
    return { ...this.#header, object, choices: [], usage: usage(stats) };
  }

  /** @returns {ToolCall[]} */
  #toolCalls() {
    if (this.#forced.length > 0) return parseForcedCall(this.#content);
    return this.#parser.calls;
  }

  /**
   * @param {object} delta
   * @param {string | null} reason
   */
  #chunk(delta, reason) {
    const role = this.#hasBegun ? {} : { role: "assistant" };
    this.#hasBegun = true;
    const content = this.#logprobs.slice(this.#reported);
    this.#reported = this.#logprobs.length;
    const logprobs = this.#wantsLogprobs ? { content, refusal: null } : null;
    const choice = { index: 0, delta: { ...role, ...delta }, logprobs, finish_reason: reason };
    return { ...this.#header, object: "chat.completion.chunk", choices: [choice] };
  }
}

/** A text completion under way. */
export class TextAnswer {
  #header;
  #text = "";

  /** @param {Header} header */
  constructor(header) {
    this.#header = header;
  }

  /** @param {string} piece */
  add(piece) {
    this.#text += piece;
    return [this.#choice(piece, null)];
  }

  /** @param {AnswerStats} stats */
  end(stats) {
    return [this.#choice("", finishReason(stats, []))];
  }

  /**
   * @param {AnswerStats} stats
   * @returns {object} the completion as a whole
   */
  whole(stats) {
    return { ...this.#choice(this.#text, finishReason(stats, [])), usage: usage(stats) };
  }

  /** @param {AnswerStats} stats */
  usageChunk(stats) {
    return { ...this.#header, choices: [], usage: usage(stats) };
  }

  /**
   * @param {string} text
   * @param {string | null} reason
   */
  #choice(text, reason) {
    const choice = { index: 0, text, logprobs: null, finish_reason: reason };
    return { ...this.#header, choices: [choice] };
  }
}

/**
 * @param {ChatAnswer | TextAnswer} answer
 * @param {AsyncGenerator<string, void, void>} pieces
 * @param {() => AnswerStats | null} stats
 * @param {SamplingParams} params
 */
export async function respond(answer, pieces, stats, params) {
  if (params.stream) return chunks(answer, pieces, stats, params.stream_options?.include_usage);
  for await (const piece of pieces) answer.add(piece);
  const known = /** @type {AnswerStats} */ (stats());
  answer.end(known);
  return answer.whole(known);
}

/**
 * @param {ChatAnswer | TextAnswer} answer
 * @param {AsyncGenerator<string, void, void>} pieces
 * @param {() => AnswerStats | null} stats
 * @param {boolean} [withUsage]
 */
async function* chunks(answer, pieces, stats, withUsage) {
  try {
    for await (const piece of pieces) yield* answer.add(piece);
  } catch (error) {
    throw toAPIError(error);
  }
  const known = /** @type {AnswerStats} */ (stats());
  yield* answer.end(known);
  if (withUsage) yield answer.usageChunk(known);
}

/**
 * @param {AnswerStats} stats
 * @param {ToolCall[]} calls
 */
function finishReason({ finishReason: reason }, calls) {
  if (calls.length > 0) return "tool_calls";
  return reason === "length" || reason === "context" ? "length" : "stop";
}

/** @param {AnswerStats} stats */
function usage({ cachedTokens, promptTokens, tokens }) {
  const all = cachedTokens + promptTokens;
  return {
    prompt_tokens: all,
    completion_tokens: tokens,
    total_tokens: all + tokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}
