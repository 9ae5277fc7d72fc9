/**
 * OpenAI's client API over a model in this tab: code that was written for that client only needs
 * another import.
 *
 *     const client = llm.openai;
 *     const answer = await client.chat.completions.create({ messages, stream: false });
 *
 * The requests are answered in Python, by oxillama_web/openai/; here they are carried over.
 */

import { stream } from "../stream.js";
import { APIError } from "./errors.js";

/**
 * @import { Completed, ModelInfo } from "../../protocol.js"
 * @import { Connection } from "../connection.js"
 *
 * @typedef {Record<string, unknown>} Params  those of OpenAI's API reference; docs/openai.md
 * @typedef {{signal?: AbortSignal}} RequestOptions
 */

/** `llm.openai` */
export class OpenAIClient {
  #connection;
  #info;

  /**
   * @param {Connection} connection
   * @param {ModelInfo} info
   */
  constructor(connection, info) {
    this.#connection = connection;
    this.#info = info;
  }

  chat = { completions: this.#path("chat/completions") };
  completions = this.#path("completions");
  embeddings = this.#path("embeddings");
  responses = this.#path("responses");
  rerank = this.#path("rerank");
  models = { list: async () => ({ object: "list", data: [this.#model()] }) };

  /** @param {string} path */
  #path(path) {
    return {
      /**
       * @param {Params} params
       * @param {RequestOptions} [options]
       * @returns {Promise<any>} the answer, or with `stream` an async iterable of chunks
       */
      create: async (params, { signal } = {}) => {
        const answer = this.#complete(path, params, signal);
        if (params?.stream === true) {
          await answer.next(); // whatever is wrong with the request is told now
          return chunks(answer);
        }
        for (;;) {
          const { done, value } = await answer.next();
          if (done) return value;
        }
      },
    };
  }

  /**
   * @param {string} path
   * @param {Params} params
   * @param {AbortSignal | undefined} signal
   * @returns {AsyncGenerator<object[], object, void>} the chunks of each step; returns the whole
   */
  async *#complete(path, params, signal) {
    const completed = yield* stream((/** @type {(chunks: object[]) => void} */ push) => {
      const request = /** @type {const} */ ({ type: "complete", path, params });
      const end = this.#connection.request(request, (reply) => {
        if (reply.type === "chunks") push(reply.chunks);
      });
      return /** @type {Promise<Completed> & {abort: () => void}} */ (end);
    }, signal);
    if ("error" in completed) throw new APIError(completed.error);
    return completed.whole;
  }

  #model() {
    const { name, architecture } = this.#info;
    return { id: name, object: "model", created: 0, owned_by: architecture };
  }
}

/** @param {AsyncGenerator<object[], object, void>} answer */
async function* chunks(answer) {
  for await (const step of answer) yield* step;
}
