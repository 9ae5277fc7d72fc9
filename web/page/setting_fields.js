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
    hint: "How daring the choice of words is. At 0 it always takes the most likely one.",
  },
  {
    name: "topK", kind: "number", min: 0, max: 1000, step: 1, initial: 40,
    label: "Top-k",
    hint: "Choose among this many of the most likely words only. 0 leaves all in.",
  },
  {
    name: "topP", kind: "range", min: 0.05, max: 1, step: 0.05, initial: 0.9,
    label: "Top-p",
    hint: "Drop the unlikely rest: keep words until their chances add up to this. 1 keeps all.",
  },
  {
    name: "minP", kind: "range", min: 0, max: 1, step: 0.01, initial: 0,
    label: "Min-p",
    hint: "Drop words that are less likely than this share of the likeliest one. 0 keeps all.",
  },
  {
    name: "repetitionPenalty", kind: "range", min: 1, max: 2, step: 0.05, initial: 1.1,
    label: "Repetition penalty",
    hint: "Makes words that were just used less likely. 1 switches it off.",
  },
  {
    name: "maxTokens", kind: "number", min: 1, max: 32768, step: 1, initial: 512,
    label: "Longest answer",
    hint: "In tokens; a token is about three quarters of a word.",
  },
  {
    name: "seed", kind: "number", min: 0, max: 4294967295, step: 1, initial: null,
    label: "Seed",
    hint: "The same number gives the same answer again. Leave it empty for a new one each time.",
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
    hint: "The more often a word was used, the less likely it gets. 0 switches it off.",
  },
  {
    name: "presencePenalty", kind: "range", min: 0, max: 2, step: 0.05, initial: 0,
    label: "Presence penalty",
    hint: "Words that were used at all get less likely: makes for new topics. 0 switches it off.",
  },
  {
    name: "dryMultiplier", kind: "range", min: 0, max: 2, step: 0.05, initial: 0,
    label: "Phrase repetition (DRY)",
    hint: "Against whole phrases that come again; 0.8 is usual. 0 switches it off.",
  },
  {
    name: "typicalP", kind: "range", min: 0.05, max: 1, step: 0.05, initial: 1,
    label: "Typical-p",
    hint: "Keep words that are about as surprising as can be expected here. 1 keeps all.",
  },
  {
    name: "xtcThreshold", kind: "range", min: 0, max: 0.5, step: 0.01, initial: 0,
    label: "Avoid the obvious (XTC)",
    hint: "Every other time only the least likely of all words that have this chance stays. " +
      "0 switches it off.",
  },
  {
    name: "dynatempRange", kind: "range", min: 0, max: 2, step: 0.05, initial: 0,
    label: "Temperature swing",
    hint: "More daring by up to this where the model is unsure, less where it is sure. " +
      "0 switches it off.",
  },
  {
    name: "mirostat", kind: "number", min: 0, max: 2, step: 1, initial: 0,
    label: "Mirostat",
    hint: "1 or 2 keep the text evenly surprising, in place of top-k, top-p and min-p. " +
      "0 switches it off.",
  },
];

export const ALL_FIELDS = [...USUAL_FIELDS, ...MORE_FIELDS];
