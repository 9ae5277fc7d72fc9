/** The options of the public methods: their types, and how Python takes them. */

import { invalidRequest } from "../errors.js";
import { toSnakeCase } from "../protocol.js";
import { checkOption } from "./checks.js";
import { SAMPLING } from "./sampling.js";

/**
 * @import { AnswerOptions, CacheMode, ContextOptions, EmbedOptions, LoadProgress, RerankOptions,
 *   TokenLogprobs } from "../protocol.js"
 * @import { Source } from "./model_source.js"
 * @import { SamplingOptions } from "./sampling.js"
 *
 * @typedef {object} LoadOptions
 * @property {Source | Source[]} model  a GGUF file; of a model in several files the address of the
 *   first (...-00001-of-00003.gguf), or a list of all
 * @property {Source} [tokenizer]  a tokenizer.json to use instead of the model's own vocabulary
 * @property {number} [contextSize]  tokens that a conversation may have
 * @property {"stop" | "shift"} [contextFull]  what happens when it has that many. "stop", the
 *   default: the answer ends, with `stats.finishReason` "context", and a prompt that does not fit
 *   is refused. "shift": the older half is evicted, and the answer goes on
 * @property {number} [contextKeep]  with "shift": how many of the first tokens are never evicted
 * @property {number} [threads]  default: as many as help, up to 4. There is one unless the page is
 *   cross-origin isolated; see `info.threads` and `info.threadsNote`
 * @property {CacheMode} [cache]  "use", the default: a model from an address is kept on this
 *   device, and used without asking its server. "check": its server, if it can be reached, is asked
 *   for another version first. "off": nothing is kept or used
 * @property {number} [memoryBudget]  bytes of weights in memory at most: the others are read from
 *   the device each time they are needed, which is slow, but works with any size. The model must be
 *   a File or Blob, or be kept in the cache. Default: all of it is in memory
 * @property {(progress: LoadProgress) => void} [onProgress]
 * @property {AbortSignal} [signal]  stops the loading, which rejects with code "aborted"
 *
 * @typedef {object} AnswerOnlyOptions  the engine chooses what is left out
 * @property {number} [maxTokens]
 * @property {number} [logprobs]  report each token's log-probability, and those of this many
 *   alternatives
 * @property {(token: TokenLogprobs) => void} [onLogprobs]  receives them
 * @property {AbortSignal} [signal]  ends the answer early without an error: what came is kept, and
 *   `stats.finishReason` is "aborted"
 * @property {(done: number, total: number) => void} [onPrefill]  prompt tokens computed so far
 * @property {(tokens: number) => void} [onDecode]  tokens of the answer so far, before each piece
 *
 * @typedef {AnswerOnlyOptions & SamplingOptions} GenerateOptions
 *
 * @typedef {object} ChatOnlyOptions
 * @property {object[]} [tools]  descriptions of functions, for models that call them
 * @property {Record<string, unknown>} [variables]  further variables of the chat template
 *
 * @typedef {GenerateOptions & ChatOnlyOptions} ChatOptions
 */

/** @type {Record<keyof LoadOptions, string>} */
const LOAD = {
  model: "any", tokenizer: "any", contextSize: "size", contextFull: "contextFull",
  contextKeep: "count", threads: "size", cache: "cache", memoryBudget: "size",
  onProgress: "function", signal: "signal",
};
/** @type {Record<keyof AnswerOnlyOptions, string>} */
const ANSWER_ONLY = {
  maxTokens: "count", logprobs: "count", onLogprobs: "function", signal: "signal",
  onPrefill: "function", onDecode: "function",
};
/** @type {Record<keyof ChatOnlyOptions, string>} */
const CHAT_ONLY = { tools: "objects", variables: "object" };
/** @type {Record<keyof EmbedOptions, string>} */
const EMBED = { pooling: "pooling", normalize: "truth" };
/** @type {Record<keyof RerankOptions, string>} */
const RERANK = { topN: "size" };

/**
 * The options that each method knows, and their kinds.
 *
 * @type {Record<"load" | "generate" | "chat" | "embed" | "rerank" | "loadLora",
 *   Record<string, string>>}
 */
const KNOWN = {
  load: LOAD,
  generate: { ...ANSWER_ONLY, ...SAMPLING },
  chat: { ...ANSWER_ONLY, ...SAMPLING, ...CHAT_ONLY },
  embed: EMBED,
  rerank: RERANK,
  loadLora: { scale: "number" },
};

/**
 * Refuse options that a method does not know, and values of another kind.
 *
 * @param {keyof typeof KNOWN} method
 * @param {object} options
 */
export function checkOptions(method, options) {
  if (typeof options !== "object" || options === null) {
    throw invalidRequest(`${method}: the options must be an object`);
  }
  const known = KNOWN[method];
  for (const [name, value] of Object.entries(options)) {
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (kind !== undefined) {
      checkOption(name, value, kind);
      continue;
    }
    const nearest = nearestName(name, Object.keys(known));
    const hint = nearest === null ? "" : `; did you mean "${nearest}"?`;
    throw invalidRequest(`${method}: unknown option "${name}"${hint}`);
  }
}

/**
 * @param {"generate" | "chat"} method
 * @param {ChatOptions} options
 * @returns {AnswerOptions}
 */
export function answerOptions(method, options) {
  checkOptions(method, options);
  const { maxTokens, logprobs, tools, variables } = options;
  /** @type {Record<string, unknown>} */
  const sampler = {};
  for (const name of /** @type {(keyof typeof SAMPLING)[]} */ (Object.keys(SAMPLING))) {
    const value = options[name];
    if (value !== undefined && value !== null) sampler[toSnakeCase(name)] = value;
  }
  return { ...given({ max_tokens: maxTokens, logprobs, tools, variables }), sampler };
}

/**
 * @param {LoadOptions} options
 * @returns {ContextOptions}
 */
export function contextOptions({ contextSize, contextFull, contextKeep }) {
  return given({
    context_size: contextSize, context_full: contextFull, context_keep: contextKeep,
  });
}

/**
 * @template {object} T
 * @param {T} options
 * @returns {Partial<T>} without those that are undefined or null
 */
function given(options) {
  const isGiven = (/** @type {unknown} */ value) => value !== undefined && value !== null;
  const entries = Object.entries(options).filter(([, value]) => isGiven(value));
  return /** @type {Partial<T>} */ (Object.fromEntries(entries));
}

/**
 * @param {string} name
 * @param {string[]} names
 * @returns {string | null} the most similar one, if any is similar enough
 */
function nearestName(name, names) {
  const distances = names.map((other) => editDistance(plain(name), plain(other)));
  const smallest = Math.min(...distances);
  if (smallest > Math.max(1, name.length / 4)) return null;
  return names[distances.indexOf(smallest)] ?? null;
}

/** @param {string} name  in camelCase, snake_case or any other */
function plain(name) {
  return name.toLowerCase().replace(/[^a-z]/g, "");
}

/**
 * Levenshtein's distance: how many letters must be inserted, removed or replaced.
 *
 * @param {string} one
 * @param {string} other
 */
function editDistance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1];
    for (const [j, letterOfOther] of [...other].entries()) {
      const replaced = Number(row[j]) + (letter === letterOfOther ? 0 : 1);
      next.push(Math.min(replaced, Number(row[j + 1]) + 1, Number(next[j]) + 1));
    }
    row = next;
  }
  return Number(row.at(-1));
}
