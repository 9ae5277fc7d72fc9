/** The sampling settings: their fields in the dialog, and where they are kept. */

/** @import { GenerateOptions } from "../oxillama.js" */

const STORAGE_KEY = "oxillama-settings";
const THEMES = { system: "As the device", light: "Light", dark: "Dark" };

/**
 * @typedef {object} NumberField
 * @property {"maxTokens" | "temperature" | "topK" | "topP" | "minP" | "repetitionPenalty"
 *   | "seed"} name
 * @property {"range" | "number"} kind
 * @property {string} label
 * @property {string} hint
 * @property {number} min
 * @property {number} max
 * @property {number} step
 * @property {number | null} initial  null: empty, the engine's own choice
 */

/** @type {NumberField[]} */
const FIELDS = [
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

export class Settings {
  /** @type {Map<string, HTMLInputElement>} */
  #inputs = new Map();
  #instructions;
  #theme;

  /** @param {HTMLElement} container  the fields go in here */
  constructor(container) {
    const { field, textarea } = instructionsField();
    this.#instructions = textarea;
    container.append(field);
    for (const description of FIELDS) container.append(this.#numberField(description));
    const theme = themeField();
    this.#theme = theme.select;
    container.append(theme.field);
    this.#restore();
    this.#applyTheme();
    container.addEventListener("input", () => this.#store());
  }

  /** @returns {GenerateOptions} what is filled in, and valid */
  options() {
    /** @type {GenerateOptions} */
    const options = {};
    for (const { name } of FIELDS) {
      const input = this.#inputs.get(name);
      if (input && input.value !== "" && input.validity.valid) options[name] = Number(input.value);
    }
    return options;
  }

  /** @returns {string} what the model is told before the conversation; may be empty */
  instructions() {
    return this.#instructions.value.trim();
  }

  reset() {
    this.#instructions.value = "";
    this.#theme.value = "system";
    for (const { name, initial } of FIELDS) this.#set(name, initial);
    this.#store();
  }

  /** @param {NumberField} description */
  #numberField({ name, kind, label, hint, min, max, step, initial }) {
    const input = document.createElement("input");
    Object.assign(input, { type: kind, id: `setting-${name}`, min, max, step });
    if (kind === "number") {
      input.inputMode = "numeric";
      if (initial === null) input.placeholder = "random";
      else input.required = true;
    }
    this.#inputs.set(name, input);
    const field = labelled(input, label, hint);
    if (kind === "range") {
      const output = document.createElement("output");
      output.htmlFor.add(input.id);
      input.addEventListener("input", () => (output.value = input.value));
      field.querySelector(".field-head")?.append(output);
    }
    this.#set(name, initial);
    return field;
  }

  /**
   * @param {string} name
   * @param {number | null} value
   */
  #set(name, value) {
    const input = this.#inputs.get(name);
    if (!input) return;
    input.value = value === null ? "" : String(value);
    input.dispatchEvent(new Event("input"));
  }

  #store() {
    /** @type {Record<string, string>} */
    const values = { instructions: this.#instructions.value, theme: this.#theme.value };
    for (const [name, input] of this.#inputs) values[name] = input.value;
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify(values));
    } catch {
      // storage is switched off: the settings last as long as the page
    }
    this.#applyTheme();
  }

  #applyTheme() {
    document.documentElement.dataset.theme = this.#theme.value;
  }

  #restore() {
    let stored;
    try {
      stored = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
    } catch {
      return;
    }
    for (const { name, initial } of FIELDS) {
      const value = stored[name];
      if (value === undefined) continue;
      this.#set(name, value === "" ? null : Number(value));
      if (this.#inputs.get(name)?.validity.valid === false) this.#set(name, initial);
    }
    this.#instructions.value = stored.instructions ?? "";
    if (Object.hasOwn(THEMES, stored.theme ?? "")) this.#theme.value = stored.theme;
  }
}

function instructionsField() {
  const textarea = document.createElement("textarea");
  textarea.id = "setting-instructions";
  textarea.placeholder = "You are a helpful assistant.";
  const hint = "What the model is told before the conversation. Takes effect with a new chat.";
  return { field: labelled(textarea, "Instructions", hint), textarea };
}

function themeField() {
  const select = document.createElement("select");
  select.id = "setting-theme";
  for (const [value, label] of Object.entries(THEMES)) select.append(new Option(label, value));
  return { field: labelled(select, "Colours", "Of this page."), select };
}

/**
 * @param {HTMLElement} input
 * @param {string} text
 * @param {string} explanation
 */
function labelled(input, text, explanation) {
  const field = document.createElement("div");
  field.className = "field";
  const head = document.createElement("div");
  head.className = "field-head";
  const label = document.createElement("label");
  label.htmlFor = input.id;
  label.textContent = text;
  head.append(label);
  const hint = document.createElement("p");
  hint.id = `${input.id}-hint`;
  hint.textContent = explanation;
  input.setAttribute("aria-describedby", hint.id);
  field.append(head, hint, input);
  return field;
}
