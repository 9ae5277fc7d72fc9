/** What may be asked for, and how Python calls it. */

import { OxiLlamaError } from "../errors.js";

/**
 * @import { AnswerOptions, ContextOptions, SamplerOptions, TokenLogprobs } from "../protocol.js"
 * @import { LoadOptions } from "../oxillama.js"
 *
 * @typedef {object} GenerateOptions  what is left out is the engine's choice; docs/sampling.md
 *   tells more of what decides which token comes next
 * @property {number} [maxTokens]
 * @property {string[]} [stop]  texts that end the answer; they are not part of it
 * @property {number} [temperature]  0: always the most probable token
 * @property {number} [topK]  0: all
 * @property {number} [topP]
 * @property {number} [minP]
 * @property {number} [typicalP]
 * @property {number} [topA]
 * @property {number} [epsilonCutoff]
 * @property {number} [etaCutoff]
 * @property {number} [repetitionPenalty]  1: none
 * @property {number} [repetitionPenaltyWindow]
 * @property {number} [frequencyPenalty]
 * @property {number} [presencePenalty]
 * @property {number} [dryMultiplier]
 * @property {number} [dryBase]
 * @property {number} [dryAllowedLength]
 * @property {number} [xtcThreshold]
 * @property {number} [xtcProbability]
 * @property {number} [mirostat]
 * @property {number} [mirostatTau]
 * @property {number} [mirostatEta]
 * @property {number} [dynatempRange]
 * @property {number} [dynatempExponent]
 * @property {Record<number, number>} [logitBias]  added to the logits of tokens, by id
 * @property {number[]} [bannedTokens]
 * @property {string} [grammar]  GBNF: the answer follows it
 * @property {unknown} [jsonSchema]  the answer is JSON that validates
 * @property {number} [seed]  the same seed gives the same text
 * @property {number} [logprobs]  tell each token's log-probability, and of so many alternatives
 * @property {(token: TokenLogprobs) => void} [onLogprobs]  where they are told
 * @property {AbortSignal} [signal]  ends the answer early, without an error: what came is kept, and
 *   `stats.finishReason` is "aborted"
 * @property {(done: number, total: number) => void} [onPrefill]  prompt tokens computed so far
 *
 * @typedef {object} ChatOnlyOptions
 * @property {object[]} [tools]  descriptions of functions, for models that call them
 * @property {Record<string, unknown>} [variables]  more of the chat template
 *
 * @typedef {GenerateOptions & ChatOnlyOptions} ChatOptions
 */

const SAMPLER_NAMES = /** @type {const} */ ([
  "temperature", "topK", "topP", "minP", "typicalP", "topA", "epsilonCutoff", "etaCutoff",
  "repetitionPenalty", "repetitionPenaltyWindow", "frequencyPenalty", "presencePenalty",
  "dryMultiplier", "dryBase", "dryAllowedLength", "xtcThreshold", "xtcProbability", "mirostat",
  "mirostatTau", "mirostatEta", "dynatempRange", "dynatempExponent", "logitBias", "bannedTokens",
  "grammar", "jsonSchema", "seed",
]);

/**
 * @param {ChatOptions} options
 * @returns {AnswerOptions}
 */
export function answerOptions(options) {
  const { maxTokens, stop, logprobs, tools, variables } = options;
  const sampler = SAMPLER_NAMES.map((name) => [toSnakeCase(name), options[name]]);
  return {
    ...given({ max_tokens: maxTokens, stop, logprobs, tools, variables }),
    sampler: /** @type {SamplerOptions} */ (given(Object.fromEntries(sampler))),
  };
}

/**
 * @param {Pick<LoadOptions, "contextSize" | "contextFull" | "contextKeep">} options
 * @returns {ContextOptions}
 */
export function contextOptions({ contextSize, contextFull, contextKeep }) {
  const isCount = (/** @type {number} */ value) => Number.isInteger(value) && value >= 0;
  check("contextSize", contextSize, (size) => isCount(size) && size >= 1, "a whole number above 0");
  check("contextFull", contextFull, (full) => full === "stop" || full === "shift",
    '"stop" or "shift"');
  check("contextKeep", contextKeep, isCount, "a whole number, 0 or more");
  return given({
    context_size: contextSize, context_full: contextFull, context_keep: contextKeep,
  });
}

/**
 * @template T
 * @param {string} name
 * @param {T | undefined} value  undefined: the engine's choice
 * @param {(value: T) => boolean} isRight
 * @param {string} expected
 */
function check(name, value, isRight, expected) {
  if (value === undefined || value === null || isRight(value)) return;
  const message = `${name} is ${value}; it must be ${expected}`;
  throw new OxiLlamaError({ code: "invalid_request", message });
}

/** @param {string} name */
function toSnakeCase(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * @template {object} T
 * @param {T} options
 * @returns {Partial<T>} without what is undefined
 */
function given(options) {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return /** @type {Partial<T>} */ (Object.fromEntries(entries));
}
