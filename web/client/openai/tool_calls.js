/**
 * Tool calls in the text of an answer. Models of several families (Hermes, Qwen) write
 *
 *     <tool_call>{"name": "get_weather", "arguments": {"city": "Köln"}}</tool_call>
 */

/**
 * @typedef {{type: "function", function: {name: string, description?: string,
 *   parameters?: object}}} FunctionTool
 * @typedef {{id: string, type: "function", function: {name: string, arguments: string}}} ToolCall
 */

const OPEN = "<tool_call>";
const CLOSE = "</tool_call>";

/** Extracts tool calls from a text that comes in pieces. */
export class ToolCallParser {
  /** @type {ToolCall[]} */
  calls = [];
  #isOn;
  #held = "";

  /** @param {boolean} isOn  false: there are no tools, and all is text */
  constructor(isOn) {
    this.#isOn = isOn;
  }

  /**
   * @param {string} piece
   * @returns {string} the text that is certainly not part of a call
   */
  push(piece) {
    if (!this.#isOn) return piece;
    this.#held += piece;
    let text = "";
    for (;;) {
      const start = this.#held.indexOf(OPEN);
      if (start < 0) {
        const kept = overlap(this.#held, OPEN);
        text += this.#held.slice(0, this.#held.length - kept);
        this.#held = this.#held.slice(this.#held.length - kept);
        return text;
      }
      text += this.#held.slice(0, start);
      const end = this.#held.indexOf(CLOSE, start);
      if (end < 0) {
        this.#held = this.#held.slice(start);
        return text;
      }
      text += this.#take(this.#held.slice(start + OPEN.length, end));
      this.#held = this.#held.slice(end + CLOSE.length);
    }
  }

  /** @returns {string} the rest; a call without its end mark counts if it is complete */
  finish() {
    const rest = this.#held;
    this.#held = "";
    return rest.startsWith(OPEN) ? this.#take(rest.slice(OPEN.length)) : rest;
  }

  /**
   * @param {string} source
   * @returns {string} nothing, or the text again if it is not a call
   */
  #take(source) {
    const call = parseCall(source);
    if (call === null) return `${OPEN}${source}${CLOSE}`;
    this.calls.push(call);
    return "";
  }
}

/**
 * Return a JSON Schema for an answer that calls one of the tools.
 *
 * @param {FunctionTool[]} tools
 */
export function forcedCallSchema(tools) {
  const schemas = tools.map(({ function: { name, parameters } }) => ({
    type: "object",
    properties: { name: { const: name }, arguments: parameters ?? { type: "object" } },
    required: ["name", "arguments"],
    additionalProperties: false,
  }));
  return schemas.length === 1 ? schemas[0] : { anyOf: schemas };
}

/**
 * @param {string} text  of an answer that followed `forcedCallSchema`
 * @returns {ToolCall[]} none, if the answer was cut off
 */
export function parseForcedCall(text) {
  const call = parseCall(text);
  return call === null ? [] : [call];
}

/**
 * @param {string} source
 * @returns {ToolCall | null}
 */
function parseCall(source) {
  try {
    const { name, arguments: values } = JSON.parse(source);
    if (typeof name !== "string") return null;
    const text = typeof values === "string" ? values : JSON.stringify(values ?? {});
    const id = `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
    return { id, type: "function", function: { name, arguments: text } };
  } catch {
    return null;
  }
}

/**
 * Return how many letters at the end of a text are the beginning of a mark.
 *
 * @param {string} text
 * @param {string} mark
 */
function overlap(text, mark) {
  for (let length = Math.min(text.length, mark.length - 1); length > 0; length--) {
    if (text.endsWith(mark.slice(0, length))) return length;
  }
  return 0;
}
