/** The settings that are numbers: their names, and what they do in plain words. */

/** @import { NumberOption } from "../client/sampling.js" */

/**
 * @typedef {object} NumberField
 * @property {"maxTokens" | NumberOption} name
 * @property {"range" | "number"} kind
 * @property {string} label
 * @property {string} hint
 * @property {number} min
 * @property {number} max
 * @property {number} step
 * @property {number | null} initial  null: empty, which leaves it to the engine
 */

/** @type {NumberField[]} */
export const USUAL_FIELDS = [
  {
    name: "temperature", kind: "range", min: 0, max: 2, step: 0.05, initial: 0.7,
    label: "Temperature",
    hint: "How daring the choice of words is. At 0 it is always the most likely one.",
  },
  {
    name: "topK", kind: "number", min: 0, max: 1000, step: 1, initial: 40,
    label: "Top-k",
    hint: "Choose only among this many of the most likely words. 0 keeps all.",
  },
  {
    name: "topP", kind: "range", min: 0.05, max: 1, step: 0.05, initial: 0.9,
    label: "Top-p",
    hint: "Keep the most likely words until their chances add up to this. 1 keeps all.",
  },
  {
    name: "minP", kind: "range", min: 0, max: 1, step: 0.01, initial: 0,
    label: "Min-p",
    hint: "Drop words that are less likely than this fraction of the likeliest one. 0 keeps all.",
  },
  {
    name: "repetitionPenalty", kind: "range", min: 1, max: 2, step: 0.05, initial: 1.1,
    label: "Repetition penalty",
    hint: "Make recently used words less likely. 1 switches it off.",
  },
  {
    name: "maxTokens", kind: "number", min: 1, max: 32768, step: 1, initial: 512,
    label: "Longest answer",
    hint: "In tokens; a token is about three quarters of a word.",
  },
  {
    name: "seed", kind: "number", min: 0, max: 4294967295, step: 1, initial: null,
    label: "Seed",
    hint: "The same number gives the same answer again. Leave it empty for a new answer each time.",
  },
];

/** @type {NumberField[]} */
export const MORE_FIELDS = [
  {
    name: "repetitionPenaltyWindow", kind: "number", min: 0, max: 32768, step: 1, initial: 64,
    label: "Repetition window",
    hint: "How many tokens back the penalties for used words look.",
  },
  {
    name: "frequencyPenalty", kind: "range", min: 0, max: 2, step: 0.05, initial: 0,
    label: "Frequency penalty",
    hint: "The more often a word was used, the less likely it becomes. 0 switches it off.",
  },
  {
    name: "presencePenalty", kind: "range", min: 0, max: 2, step: 0.05, initial: 0,
    label: "Presence penalty",
    hint: "Make words less likely once they were used, for new topics. 0 switches it off.",
  },
  {
    name: "dryMultiplier", kind: "range", min: 0, max: 2, step: 0.05, initial: 0,
    label: "Phrase repetition (DRY)",
    hint: "Avoid repeating whole phrases; 0.8 is usual. 0 switches it off.",
  },
  {
    name: "typicalP", kind: "range", min: 0.05, max: 1, step: 0.05, initial: 1,
    label: "Typical-p",
    hint: "Keep words that are about as surprising as expected. 1 keeps all.",
  },
  {
    name: "xtcThreshold", kind: "range", min: 0, max: 0.5, step: 0.01, initial: 0,
    label: "Avoid the obvious (XTC)",
    hint: "Half of the time, keep only the least likely of the words with at least this chance. " +
      "0 switches it off.",
  },
  {
    name: "dynatempRange", kind: "range", min: 0, max: 2, step: 0.05, initial: 0,
    label: "Temperature swing",
    hint: "Be more daring by up to this when the model is unsure, and less when it is sure. " +
      "0 switches it off.",
  },
  {
    name: "mirostat", kind: "number", min: 0, max: 2, step: 1, initial: 0,
    label: "Mirostat",
    hint: "1 or 2 keep the text evenly surprising, instead of top-k, top-p and min-p. " +
      "0 switches it off.",
  },
];

export const ALL_FIELDS = [...USUAL_FIELDS, ...MORE_FIELDS];
