/** The options of sampling, declared once: their names, their types and what they mean. */

import { invalidRequest } from "../errors.js";

/**
 * @typedef {object} OptionTypes
 * @property {number} number
 * @property {string} text
 * @property {string[]} texts
 * @property {number[]} tokens  token ids
 * @property {Record<number, number>} biases  numbers by token id
 * @property {unknown} schema  a JSON Schema
 *
 * @typedef {{-readonly [Name in keyof typeof SAMPLING]?:
 *   OptionTypes[(typeof SAMPLING)[Name]]}} SamplingOptions  docs/sampling.md explains them
 *
 * @typedef {{[Name in keyof typeof SAMPLING]: (typeof SAMPLING)[Name] extends "number"
 *   ? Name : never}[keyof typeof SAMPLING]} NumberOption
 */

/** Python's SamplerConfig has the same fields in snake_case, and their defaults. */
export const SAMPLING = /** @type {const} */ ({
  /** 0 always chooses the most probable token. */
  temperature: "number",
  /** Keep this many of the most probable tokens; 0 keeps all. */
  topK: "number",
  /** Keep the most probable tokens whose probabilities sum to this; 1 keeps all. */
  topP: "number",
  /** Keep tokens that are at least this fraction as probable as the most probable one. */
  minP: "number",
  /** Keep the tokens of most typical surprisal whose probabilities sum to this; 1 keeps all. */
  typicalP: "number",
  /** Drop tokens less probable than this times the square of the largest probability. */
  topA: "number",
  /** Drop tokens less probable than this. */
  epsilonCutoff: "number",
  /** Drop tokens less probable than a bound that depends on the entropy. */
  etaCutoff: "number",
  /** Divides positive and multiplies negative logits of recent tokens; 1 has no effect. */
  repetitionPenalty: "number",
  /** How many of the last tokens count as recent. */
  repetitionPenaltyWindow: "number",
  /** Subtracted from a recent token's logit, times how often it occurs. */
  frequencyPenalty: "number",
  /** Subtracted from each recent token's logit. */
  presencePenalty: "number",
  /** Penalty of a token that would extend a repetition (DRY); 0 has no effect. */
  dryMultiplier: "number",
  /** The penalty grows by this factor with each repeated token. */
  dryBase: "number",
  /** Repetitions of this length have no penalty yet. */
  dryAllowedLength: "number",
  /** Texts that end a repetition. */
  drySequenceBreakers: "texts",
  /** Drop all but the least probable of the tokens at least this probable (XTC). */
  xtcThreshold: "number",
  /** How often that happens. */
  xtcProbability: "number",
  /** 1 or 2 keep each token's surprisal near `mirostatTau`; 0 has no effect. */
  mirostat: "number",
  /** In bits. */
  mirostatTau: "number",
  /** How fast that is approached. */
  mirostatEta: "number",
  /** The temperature varies by this much, higher where the model is less sure. */
  dynatempRange: "number",
  /** How that depends on the entropy. */
  dynatempExponent: "number",
  /** Added to the logits of tokens, by id. */
  logitBias: "biases",
  /** Ids of tokens that are never chosen. */
  bannedTokens: "tokens",
  /** The order of the stages; those that are left out do not run. */
  stages: "texts",
  /** Texts that end the answer; they are not part of it. */
  stop: "texts",
  /** A GBNF grammar that the answer follows. */
  grammar: "text",
  /** A JSON Schema that the answer, which is JSON, validates against. */
  jsonSchema: "schema",
  /** The same seed gives the same text. */
  seed: "number",
});

/** @type {Record<keyof OptionTypes, [string, (value: any) => boolean]>} */
const CHECKS = {
  number: ["a finite number", Number.isFinite],
  text: ["a text", (value) => typeof value === "string"],
  texts: ["a list of texts", (value) => isListOf("string", value)],
  tokens: ["a list of token ids", (value) => isListOf("number", value)],
  biases: ["an object of numbers by token id", isBiases],
  schema: ["a JSON Schema", () => true],
};

/**
 * Refuse an option of sampling whose value has the wrong type; Python checks the ranges.
 *
 * @param {keyof typeof SAMPLING} name
 * @param {unknown} value
 */
export function checkType(name, value) {
  const [expected, isRight] = CHECKS[SAMPLING[name]];
  if (isRight(value)) return;
  throw invalidRequest(`${name} is ${JSON.stringify(value)}; it must be ${expected}`);
}

/**
 * @param {"string" | "number"} type
 * @param {unknown} value
 */
function isListOf(type, value) {
  return Array.isArray(value) && value.every((each) => typeof each === type);
}

/** @param {unknown} value */
function isBiases(value) {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).every(([id, bias]) => /^\d+$/.test(id) && Number.isFinite(bias));
}
