/** What the arguments and options of the public methods may be; Python checks ranges. */

import { invalidRequest } from "../errors.js";

/**
 * Kinds of values: what a message says of them, and whether a value is one.
 *
 * @type {Record<string, [string, (value: any) => boolean]>}
 */
const KINDS = {
  /** Checked where it is used. */
  any: ["", () => true],
  number: ["a finite number", Number.isFinite],
  integer: ["a whole number", Number.isSafeInteger],
  count: ["a whole number, 0 or more", (value) => Number.isSafeInteger(value) && value >= 0],
  size: ["a whole number, 1 or more", (value) => Number.isSafeInteger(value) && value >= 1],
  truth: ["true or false", (value) => typeof value === "boolean"],
  text: ["a text", isText],
  texts: ["a list of texts", (value) => isListOf(isText, value)],
  tokens: ["a list of token ids", (value) => isListOf(Number.isSafeInteger, value)],
  biases: ["an object of numbers by token id", isBiases],
  object: ["an object", isObject],
  messages: ["a list of messages, each {role, content}", (value) => isListOf(isObject, value)],
  objects: ["a list of objects", (value) => isListOf(isObject, value)],
  bytes: ["a Uint8Array", (value) => ArrayBuffer.isView(value)],
  function: ["a function", (value) => typeof value === "function"],
  signal: ["an AbortSignal", (value) => typeof value?.addEventListener === "function"],
  contextFull: oneOf("stop", "shift"),
  cache: oneOf("use", "check", "off"),
  pooling: oneOf("last", "mean", "max", "cls"),
};

/** The kinds of what the public methods take, by name. */
const ARGUMENTS = {
  prompt: "text", text: "text", texts: "texts", messages: "messages", bytes: "bytes",
};

/**
 * Refuse an option of another kind by its name.
 *
 * @param {string} name
 * @param {unknown} value  undefined and null: it was left out
 * @param {string} kind
 */
export function checkOption(name, value, kind) {
  if (value !== undefined && value !== null) check(name, value, kind);
}

/**
 * Refuse arguments of other kinds.
 *
 * @param {object} args  by name; those that have no kind are checked elsewhere
 */
export function checkArguments(args) {
  for (const [name, kind] of Object.entries(ARGUMENTS)) {
    if (!(name in args)) continue;
    check(name, /** @type {Record<string, unknown>} */ (args)[name], kind);
  }
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {string} kind
 */
function check(name, value, kind) {
  const [expected, isRight] = /** @type {(typeof KINDS)[string]} */ (KINDS[kind]);
  if (!isRight(value)) throw invalidRequest(`${name} is ${shown(value)}; it must be ${expected}`);
}

/**
 * @param {unknown} value
 * @returns {string} the value for a message, whatever it is, and not too long
 */
function shown(value) {
  let text;
  try {
    const isPlain = typeof value === "string" || (typeof value === "object" && value !== null);
    text = (isPlain ? JSON.stringify(value) : undefined) ?? String(value);
  } catch {
    text = Object.prototype.toString.call(value); // in circles, or with a BigInt inside
  }
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/**
 * @param {...string} allowed
 * @returns {[string, (value: any) => boolean]}
 */
function oneOf(...allowed) {
  const quoted = allowed.map((each) => `"${each}"`);
  const last = quoted.pop();
  return [`${quoted.join(", ")} or ${last}`, (value) => allowed.includes(value)];
}

/** @param {unknown} value */
function isText(value) {
  return typeof value === "string";
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {(value: any) => boolean} isRight
 * @param {unknown} value
 */
function isListOf(isRight, value) {
  return Array.isArray(value) && value.every((each) => isRight(each));
}

/** @param {unknown} value */
function isBiases(value) {
  if (!isObject(value)) return false;
  return Object.entries(/** @type {object} */ (value)).every(
    ([id, bias]) => /^\d+$/.test(id) && Number.isFinite(bias),
  );
}
