/**
 * OpenAI's client API over a model in this tab: code that was written for that client only needs
 * another import.
 *
 *     const client = llm.openai;
 *     const answer = await client.chat.completions.create({ messages, stream: false });
 *
 * The shapes follow OpenAI's API reference: chat, completions and embeddings.
 */

import { ChatAnswer, TextAnswer, respond } from "./answers.js";
import { invalid, toAPIError } from "./errors.js";
import { forcedTools, format, samplingOptions, toChatMessage } from "./params.js";

/**
 * @import { OxiLlama } from "../../oxillama.js"
 * @import { ChatOptions } from "../options.js"
 * @import { ChatParams, CompletionParams, EmbeddingParams, RequestOptions, SamplingParams
 *   } from "./params.js"
 */

/** `llm.openai` */
export class OpenAIClient {
  #llm;

  /** @param {OxiLlama} llm */
  constructor(llm) {
    this.#llm = llm;
  }

  chat = {
    completions: {
      /**
       * @param {ChatParams} params
       * @param {RequestOptions} [options]
       * @returns {Promise<any>} a chat completion, or with `stream` an async iterable of chunks
       */
      create: (params, options = {}) => withAPIErrors(() => this.#chat(params, options)),
    },
  };

  completions = {
    /**
     * @param {CompletionParams} params
     * @param {RequestOptions} [options]
     * @returns {Promise<any>} a completion, or with `stream` an async iterable of them
     */
    create: (params, options = {}) => withAPIErrors(() => this.#complete(params, options)),
  };

  embeddings = {
    /** @param {EmbeddingParams} params */
    create: (params) => withAPIErrors(() => this.#embed(params)),
  };

  models = {
    list: async () => ({ object: "list", data: [this.#model()] }),
  };

  /**
   * @param {ChatParams} params
   * @param {RequestOptions} options
   */
  async #chat(params, { signal }) {
    const { messages, logprobs, top_logprobs: top } = params;
    if (!Array.isArray(messages) || messages.length === 0) {
      throw invalid("messages", "messages must be a list of at least one message");
    }
    const forced = forcedTools(params);
    const answer = new ChatAnswer(this.#header("chat.completion", params), forced, params);
    /** @type {ChatOptions} */
    const chatOptions = {
      ...samplingOptions(params),
      ...format(params, forced),
      maxTokens: params.max_completion_tokens ?? params.max_tokens ?? undefined,
      tools: params.tool_choice === "none" ? undefined : params.tools,
      logprobs: logprobs ? (top ?? 0) : undefined,
      onLogprobs: (token) => answer.addLogprobs(token),
      signal,
    };
    const pieces = this.#llm.chat(messages.map(toChatMessage), chatOptions);
    return respond(answer, pieces, () => this.#llm.stats, params);
  }

  /**
   * @param {CompletionParams} params
   * @param {RequestOptions} options
   */
  async #complete(params, { signal }) {
    if (typeof params.prompt !== "string") {
      throw invalid("prompt", "prompt must be one text");
    }
    const answer = new TextAnswer(this.#header("text_completion", params));
    const textOptions = {
      ...samplingOptions(params),
      maxTokens: params.max_tokens ?? 16, // the API's own default
      signal,
    };
    const llm = this.#llm;
    const pieces = (async function* () {
      await llm.reset();
      yield* llm.generate(params.prompt, textOptions);
    })();
    return respond(answer, pieces, () => this.#llm.stats, params);
  }

  /** @param {EmbeddingParams} params */
  async #embed({ input, encoding_format: encoding = "float" }) {
    const texts = typeof input === "string" ? [input] : input;
    if (!Array.isArray(texts) || texts.some((text) => typeof text !== "string")) {
      throw invalid("input", "input must be a text, or a list of texts");
    }
    const vectors = await this.#llm.embed(texts);
    const counts = await Promise.all(texts.map((text) => this.#llm.countTokens(text)));
    const tokens = counts.reduce((sum, count) => sum + count, 0);
    return {
      object: "list",
      model: this.#llm.info.name,
      data: vectors.map((vector, index) => ({
        object: "embedding",
        index,
        embedding: encoding === "base64" ? toBase64(vector) : vector,
      })),
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    };
  }

  /**
   * @param {string} object
   * @param {SamplingParams} params
   */
  #header(object, params) {
    if ((params.n ?? 1) !== 1) throw invalid("n", "one answer at a time: n must be 1");
    return {
      id: `${object === "text_completion" ? "cmpl" : "chatcmpl"}-${crypto.randomUUID()}`,
      object,
      created: Math.floor(Date.now() / 1000),
      model: params.model ?? this.#llm.info.name,
    };
  }

  #model() {
    const { name, architecture } = this.#llm.info;
    return { id: name, object: "model", created: 0, owned_by: architecture };
  }
}

/** @param {number[]} vector */
function toBase64(vector) {
  const bytes = new Uint8Array(new Float32Array(vector).buffer);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withAPIErrors(work) {
  try {
    return await work();
  } catch (error) {
    throw toAPIError(error);
  }
}
