/** The options of sampling, declared once: their names, their kinds and what they mean. */

/**
 * @typedef {object} OptionTypes  the type of each kind; checks.js checks them
 * @property {number} number
 * @property {number} integer
 * @property {number} count
 * @property {string} text
 * @property {string[]} texts
 * @property {number[]} tokens  token ids
 * @property {Record<number, number>} biases  numbers by token id
 * @property {unknown} any
 *
 * @typedef {{-readonly [Name in keyof typeof SAMPLING]?:
 *   OptionTypes[(typeof SAMPLING)[Name]]}} SamplingOptions  docs/sampling.md explains them
 *
 * @typedef {"number" | "integer" | "count"} NumberKind
 * @typedef {{[Name in keyof typeof SAMPLING]:
 *   (typeof SAMPLING)[Name] extends NumberKind ? Name : never}[keyof typeof SAMPLING]} NumberOption
 */

/** Python's SamplerConfig has the same fields in snake_case, and their defaults. */
export const SAMPLING = /** @type {const} */ ({
  /** 0 always chooses the most probable token. */
  temperature: "number",
  /** Keep this many of the most probable tokens; 0 keeps all. */
  topK: "count",
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
  repetitionPenaltyWindow: "count",
  /** Subtracted from a recent token's logit, times how often it occurs. */
  frequencyPenalty: "number",
  /** Subtracted from each recent token's logit. */
  presencePenalty: "number",
  /** Penalty of a token that would extend a repetition (DRY); 0 has no effect. */
  dryMultiplier: "number",
  /** The penalty grows by this factor with each repeated token. */
  dryBase: "number",
  /** Repetitions of this length have no penalty yet. */
  dryAllowedLength: "count",
  /** Texts that end a repetition. */
  drySequenceBreakers: "texts",
  /** Drop all but the least probable of the tokens at least this probable (XTC). */
  xtcThreshold: "number",
  /** How often that happens. */
  xtcProbability: "number",
  /** 1 or 2 keep each token's surprisal near `mirostatTau`; 0 has no effect. */
  mirostat: "count",
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
  jsonSchema: "any",
  /** The same seed gives the same text. */
  seed: "integer",
});
