/** The settings: their fields in the dialog, and their values, which the browser stores. */

import { make } from "./dom.js";
import { ALL_FIELDS, MORE_FIELDS, USUAL_FIELDS } from "./setting_fields.js";

/** @import { GenerateOptions, LoadOptions } from "../oxillama.js" */
/** @import { NumberField } from "./setting_fields.js" */

const STORAGE_KEY = "oxillama-settings";
const THEMES = { system: "As the device", light: "Light", dark: "Dark" };
const CONTEXT_FULL = { stop: "Stop", shift: "Forget the oldest" };
/** Bounds of `contextKeep`, in tokens: enough for the instructions, by a generous guess. */
const MIN_KEPT = 32;
const MAX_KEPT = 256;
const LETTERS_PER_TOKEN = 3;

export class Settings {
  /** @type {Map<string, HTMLInputElement>} */
  #inputs = new Map();
  #instructions = makeTextarea("instructions", "You are a helpful assistant.");
  #stop = makeTextarea("stop", "");
  #json = makeCheckbox("json");
  #contextFull = makeSelect("contextFull", CONTEXT_FULL);
  #theme = makeSelect("theme", THEMES);

  /** @param {HTMLElement} container  for the fields */
  constructor(container) {
    container.append(
      labelled(
        this.#instructions, "Instructions",
        "The model reads this before the conversation. It takes effect with a new chat.",
      ),
      ...USUAL_FIELDS.map((description) => this.#numberField(description)),
      labelled(
        this.#json, "Answer in JSON",
        "The answer is one JSON object, for programs to read. Say in your question what it " +
          "should contain.",
      ),
      make(
        "details", "more",
        make("summary", "", "More about the choice of words"),
        ...MORE_FIELDS.map((description) => this.#numberField(description)),
        labelled(
          this.#stop, "Stop texts",
          "One on each line. The answer ends before the first of them.",
        ),
      ),
      labelled(
        this.#contextFull, "When the context is full",
        "A model can take in only so much of a conversation. After that its answer stops, or it " +
          "forgets the oldest part and goes on. It takes effect when a model is loaded.",
      ),
      labelled(this.#theme, "Colours", "Of this page."),
    );
    // a hidden field cannot show what is wrong with it
    const more = /** @type {HTMLDetailsElement} */ (container.querySelector("details.more"));
    more.addEventListener("invalid", () => (more.open = true), { capture: true });
    this.#restore();
    this.#applyTheme();
    container.addEventListener("input", () => this.#store());
  }

  /** @returns {GenerateOptions} the fields that are filled in and valid */
  options() {
    /** @type {GenerateOptions} */
    const options = {};
    for (const { name } of ALL_FIELDS) {
      const input = this.#inputs.get(name);
      if (input && input.value !== "" && input.validity.valid) options[name] = Number(input.value);
    }
    const stop = this.#stop.value.split("\n").filter((line) => line !== "");
    if (stop.length > 0) options.stop = stop;
    if (this.#json.checked) options.jsonSchema = { type: "object" };
    return options;
  }

  /** @returns {Pick<LoadOptions, "contextFull" | "contextKeep">} */
  loadOptions() {
    const contextFull = this.#contextFull.value === "shift" ? "shift" : "stop";
    const tokens = MIN_KEPT + Math.ceil(this.instructions().length / LETTERS_PER_TOKEN);
    return { contextFull, contextKeep: Math.min(tokens, MAX_KEPT) };
  }

  /** @returns {string} what the model reads before the conversation; may be empty */
  instructions() {
    return this.#instructions.value.trim();
  }

  reset() {
    this.#instructions.value = this.#stop.value = "";
    this.#json.checked = false;
    this.#contextFull.value = "stop";
    this.#theme.value = "system";
    for (const { name, initial } of ALL_FIELDS) this.#set(name, initial);
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
    const values = {
      instructions: this.#instructions.value,
      stop: this.#stop.value,
      json: this.#json.checked ? "on" : "",
      contextFull: this.#contextFull.value,
      theme: this.#theme.value,
    };
    for (const [name, input] of this.#inputs) values[name] = input.value;
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify(values));
    } catch {
      // storage is switched off: the settings last as long as the page is open
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
    for (const { name, initial } of ALL_FIELDS) {
      const value = stored[name];
      if (value === undefined) continue;
      this.#set(name, value === "" ? null : Number(value));
      if (this.#inputs.get(name)?.validity.valid === false) this.#set(name, initial);
    }
    this.#instructions.value = stored.instructions ?? "";
    this.#stop.value = stored.stop ?? "";
    this.#json.checked = stored.json === "on";
    if (Object.hasOwn(CONTEXT_FULL, stored.contextFull ?? "")) {
      this.#contextFull.value = stored.contextFull;
    }
    if (Object.hasOwn(THEMES, stored.theme ?? "")) this.#theme.value = stored.theme;
  }
}

/**
 * @param {string} name
 * @param {string} placeholder
 */
function makeTextarea(name, placeholder) {
  const textarea = document.createElement("textarea");
  return Object.assign(textarea, { id: `setting-${name}`, placeholder });
}

/** @param {string} name */
function makeCheckbox(name) {
  const input = document.createElement("input");
  return Object.assign(input, { type: "checkbox", id: `setting-${name}` });
}

/**
 * @param {string} name
 * @param {Record<string, string>} choices  their labels by value
 */
function makeSelect(name, choices) {
  const select = document.createElement("select");
  select.id = `setting-${name}`;
  for (const [value, label] of Object.entries(choices)) select.append(new Option(label, value));
  return select;
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
