/** Errors in the shape of OpenAI's client. */

/** @import { APIErrorBody } from "../../protocol.js" */

export class APIError extends Error {
  /** @param {APIErrorBody} body */
  constructor({ status, ...error }) {
    super(`${status} ${error.message}`);
    this.name = "APIError";
    this.status = status;
    this.error = error;
    this.type = error.type;
    this.param = error.param;
    this.code = error.code;
  }
}
