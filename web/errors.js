/** The errors that this package raises, on the page's side and on the worker's. */

/**
 * @typedef {"network" | "http" | "truncated" | "not_gguf" | "bad_model" | "unsupported_model"
 *   | "tokenizer" | "chat_template" | "context_length" | "conversation_changed"
 *   | "invalid_request" | "kernel" | "out_of_memory" | "not_loaded" | "busy" | "aborted"
 *   | "disposed" | "runtime" | "worker_died"
 *   | "internal"} ErrorCode  docs/worker-protocol.md explains each
 *
 * @typedef {object} ErrorDescription
 * @property {ErrorCode} code
 * @property {string} message
 * @property {string} [detail]  a traceback, to find the cause
 * @property {number} [status]  the HTTP status, for code "http"
 */

/** Every error that this package raises: a code for programs and a message for people. */
export class OxiLlamaError extends Error {
  /** @param {ErrorDescription} description */
  constructor({ code, message, detail, status }) {
    super(message);
    this.name = "OxiLlamaError";
    /** @readonly */
    this.code = code;
    /** @readonly */
    this.detail = detail ?? "";
    /** @readonly */
    this.status = status;
  }

  /** @returns {ErrorDescription} what survives a postMessage */
  describe() {
    const { code, message, detail, status } = this;
    return status === undefined ? { code, message, detail } : { code, message, detail, status };
  }
}

/**
 * Return an OxiLlamaError as it is, and wrap any other error.
 *
 * @param {unknown} error
 * @param {ErrorCode} [code]
 * @param {string} [what]  failed: the beginning of the message
 */
export function toOxiLlamaError(error, code = "internal", what = "") {
  if (error instanceof OxiLlamaError) return error;
  const message = what === "" ? reasonOf(error) : `${what}: ${reasonOf(error)}`;
  const detail = error instanceof Error ? error.stack : "";
  return new OxiLlamaError({ code, message, detail });
}

/** @param {string} message */
export function invalidRequest(message) {
  return new OxiLlamaError({ code: "invalid_request", message });
}

/** @param {unknown} error  whatever was thrown */
export function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}
