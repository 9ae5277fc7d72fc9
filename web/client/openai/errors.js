/** Errors in the shape of OpenAI's client. */

import { OxiLlamaError } from "../../errors.js";

export class APIError extends Error {
  /**
   * @param {number} status
   * @param {{message: string, type: string, param: string | null, code: string | null}} error
   */
  constructor(status, error) {
    super(`${status} ${error.message}`);
    this.name = "APIError";
    this.status = status;
    this.error = error;
    this.type = error.type;
    this.param = error.param;
    this.code = error.code;
  }
}

/** @param {unknown} error */
export function toAPIError(error) {
  if (!(error instanceof OxiLlamaError)) return error;
  const { code, message } = error;
  if (code === "context_length") {
    return apiError(400, "messages", message, "context_length_exceeded");
  }
  if (code === "invalid_request" || code === "chat_template") {
    return apiError(400, null, message, null);
  }
  return new APIError(500, { message, type: "server_error", param: null, code });
}

/**
 * @param {string} param
 * @param {string} message
 */
export function invalid(param, message) {
  return apiError(400, param, message, null);
}

/**
 * @param {number} status
 * @param {string | null} param
 * @param {string} message
 * @param {string | null} code
 */
function apiError(status, param, message, code) {
  return new APIError(status, { message, type: "invalid_request_error", param, code });
}
