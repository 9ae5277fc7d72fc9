/**
 * OpenAI's client API over a model of this tab: code that was written for that client runs with
 * another import.
 *
 *     const client = llm.openai;
 *     const answer = await client.chat.completions.create({ messages, stream: false });
 *
 * Shapes: the API reference of OpenAI's platform, chapters chat, completions and embeddings.
 */

import { OxiLlamaError } from "./protocol.js";
import { ToolCallParser, forcedCallSchema, parseForcedCall } from "./tool_calls.js";

/**
 * @import { OxiLlama } from "./oxillama.js"
 * @import { ChatOptions } from "./options.js"
 * @import { AnswerStats, ChatMessage, TokenLogprobs } from "./protocol.js"
 * @import { FunctionTool, ToolCall } from "./tool_calls.js"
 *
 * @typedef {{type: "text", text: string}} TextPart
 * @typedef {{role: string, content?: string | TextPart[] | null, name?: string,
 *   tool_calls?: ToolCall[], tool_call_id?: string}} Message
 * @typedef {"none" | "auto" | "required" | {type: "function", function: {name: string}}} ToolChoice
 * @typedef {{type: "text"} | {type: "json_object"}
 *   | {type: "json_schema", json_schema: {name?: string, schema?: object}}} ResponseFormat
 *
 * @typedef {object} SamplingParams  what is left out is the engine's choice
 * @property {number | null} [max_tokens]
 * @property {number | null} [temperature]
 * @property {number | null} [top_p]
 * @property {number | null} [n]  1
 * @property {number | null} [seed]
 * @property {string | string[] | null} [stop]
 * @property {number | null} [frequency_penalty]
 * @property {number | null} [presence_penalty]
 * @property {Record<string, number> | null} [logit_bias]
 * @property {boolean | null} [stream]
 * @property {{include_usage?: boolean} | null} [stream_options]
 * @property {string} [model]  echoed; there is one model
 * @property {string} [user]  ignored
 *
 * @typedef {object} ChatOnlyParams
 * @property {Message[]} messages
 * @property {number | null} [max_completion_tokens]
 * @property {boolean | null} [logprobs]
 * @property {number | null} [top_logprobs]
 * @property {FunctionTool[]} [tools]
 * @property {ToolChoice} [tool_choice]
 * @property {ResponseFormat} [response_format]
 *
 * @typedef {SamplingParams & ChatOnlyParams} ChatParams
 * @typedef {SamplingParams & {prompt: string}} CompletionParams
 * @typedef {{input: string | string[], model?: string,
 *   encoding_format?: "float" | "base64"}} EmbeddingParams
 * @typedef {{signal?: AbortSignal}} RequestOptions
 */

/** An error in the shape of OpenAI's client. */
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

/** What `llm.openai` is. */
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
      create: (params, options = {}) => inTheirWords(() => this.#chat(params, options)),
    },
  };

  completions = {
    /**
     * @param {CompletionParams} params
     * @param {RequestOptions} [options]
     * @returns {Promise<any>} a completion, or with `stream` an async iterable of them
     */
    create: (params, options = {}) => inTheirWords(() => this.#complete(params, options)),
  };

  embeddings = {
    /** @param {EmbeddingParams} params */
    create: (params) => inTheirWords(() => this.#embed(params)),
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
    const asked = {
      ...samplingOptions(params),
      ...format(params, forced),
      maxTokens: params.max_completion_tokens ?? params.max_tokens ?? undefined,
      tools: params.tool_choice === "none" ? undefined : params.tools,
      logprobs: logprobs ? (top ?? 0) : undefined,
      onLogprobs: (token) => answer.addLogprobs(token),
      signal,
    };
    const pieces = this.#llm.chat(messages.map(toChatMessage), asked);
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
    const asked = {
      ...samplingOptions(params),
      maxTokens: params.max_tokens ?? 16, // the API's own default
      signal,
    };
    const llm = this.#llm;
    const pieces = (async function* () {
      await llm.reset();
      yield* llm.generate(params.prompt, asked);
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

/**
 * @typedef {object} Header
 * @property {string} id
 * @property {string} object
 * @property {number} created
 * @property {string} model
 */

/** A chat completion while it is made: whole, or in chunks. */
class ChatAnswer {
  #header;
  #forced;
  #parser;
  #tellsLogprobs;
  #content = "";
  /** @type {object[]} */
  #logprobs = [];
  /** Tokens whose log-probabilities no chunk has told yet. */
  #told = 0;
  #hasBegun = false;

  /**
   * @param {Header} header
   * @param {FunctionTool[]} forced  of which one must be called
   * @param {ChatParams} params
   */
  constructor(header, forced, params) {
    this.#header = header;
    this.#forced = forced;
    this.#parser = new ToolCallParser(params.tools !== undefined && params.tool_choice !== "none");
    this.#tellsLogprobs = params.logprobs === true;
  }

  /** @param {TokenLogprobs} token */
  addLogprobs({ top, ...token }) {
    this.#logprobs.push({ ...token, top_logprobs: top });
  }

  /**
   * @param {string} piece
   * @returns {object[]} chunks
   */
  add(piece) {
    const text = this.#forced.length > 0 ? piece : this.#parser.push(piece);
    this.#content += text;
    return text === "" || this.#forced.length > 0 ? [] : [this.#chunk({ content: text }, null)];
  }

  /**
   * @param {AnswerStats} stats
   * @returns {object[]} the last chunks
   */
  end(stats) {
    const rest = this.#forced.length > 0 ? "" : this.#parser.finish();
    this.#content += rest;
    const calls = this.#toolCalls();
    const chunks = rest === "" ? [] : [this.#chunk({ content: rest }, null)];
    if (calls.length > 0) {
      const indexed = calls.map((call, index) => ({ index, ...call }));
      chunks.push(this.#chunk({ tool_calls: indexed }, null));
    }
    return [...chunks, this.#chunk({}, finishReason(stats, calls))];
  }

  /** @param {AnswerStats} stats */
  whole(stats) {
    const calls = this.#toolCalls();
    const hasText = this.#content !== "" && this.#forced.length === 0;
    const message = {
      role: "assistant",
      content: hasText || calls.length === 0 ? this.#content : null,
      refusal: null,
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    };
    const logprobs = this.#tellsLogprobs ? { content: this.#logprobs, refusal: null } : null;
    const choice = { index: 0, message, logprobs, finish_reason: finishReason(stats, calls) };
    return { ...this.#header, choices: [choice], usage: usage(stats) };
  }

  /** @param {AnswerStats} stats */
  usageChunk(stats) {
    const object = "chat.completion.chunk";
    return { ...this.#header, object, choices: [], usage: usage(stats) };
  }

  /** @returns {ToolCall[]} */
  #toolCalls() {
    if (this.#forced.length > 0) return parseForcedCall(this.#content);
    return this.#parser.calls;
  }

  /**
   * @param {object} delta
   * @param {string | null} reason
   */
  #chunk(delta, reason) {
    const role = this.#hasBegun ? {} : { role: "assistant" };
    this.#hasBegun = true;
    const content = this.#logprobs.slice(this.#told);
    this.#told = this.#logprobs.length;
    const logprobs = this.#tellsLogprobs ? { content, refusal: null } : null;
    const choice = { index: 0, delta: { ...role, ...delta }, logprobs, finish_reason: reason };
    return { ...this.#header, object: "chat.completion.chunk", choices: [choice] };
  }
}

/** A text completion while it is made. */
class TextAnswer {
  #header;
  #text = "";

  /** @param {Header} header */
  constructor(header) {
    this.#header = header;
  }

  /** @param {string} piece */
  add(piece) {
    this.#text += piece;
    return [this.#choice(piece, null)];
  }

  /** @param {AnswerStats} stats */
  end(stats) {
    return [this.#choice("", finishReason(stats, []))];
  }

  /** @param {AnswerStats} stats */
  whole(stats) {
    return { ...this.#choice(this.#text, finishReason(stats, [])), usage: usage(stats) };
  }

  /** @param {AnswerStats} stats */
  usageChunk(stats) {
    return { ...this.#header, choices: [], usage: usage(stats) };
  }

  /**
   * @param {string} text
   * @param {string | null} reason
   */
  #choice(text, reason) {
    const choice = { index: 0, text, logprobs: null, finish_reason: reason };
    return { ...this.#header, choices: [choice] };
  }
}

/**
 * @param {ChatAnswer | TextAnswer} answer
 * @param {AsyncGenerator<string, void, void>} pieces
 * @param {() => AnswerStats | null} stats
 * @param {SamplingParams} params
 */
async function respond(answer, pieces, stats, params) {
  if (params.stream) return chunks(answer, pieces, stats, params.stream_options?.include_usage);
  for await (const piece of pieces) answer.add(piece);
  const known = /** @type {AnswerStats} */ (stats());
  answer.end(known);
  return answer.whole(known);
}

/**
 * @param {ChatAnswer | TextAnswer} answer
 * @param {AsyncGenerator<string, void, void>} pieces
 * @param {() => AnswerStats | null} stats
 * @param {boolean} [withUsage]
 */
async function* chunks(answer, pieces, stats, withUsage) {
  try {
    for await (const piece of pieces) yield* answer.add(piece);
  } catch (error) {
    throw toAPIError(error);
  }
  const known = /** @type {AnswerStats} */ (stats());
  yield* answer.end(known);
  if (withUsage) yield answer.usageChunk(known);
}

/**
 * @param {AnswerStats} stats
 * @param {ToolCall[]} calls
 */
function finishReason({ finishReason: reason }, calls) {
  if (calls.length > 0) return "tool_calls";
  return reason === "length" || reason === "context" ? "length" : "stop";
}

/** @param {AnswerStats} stats */
function usage({ cachedTokens, promptTokens, tokens }) {
  const all = cachedTokens + promptTokens;
  return {
    prompt_tokens: all,
    completion_tokens: tokens,
    total_tokens: all + tokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

/**
 * @param {SamplingParams} params
 * @returns {ChatOptions}
 */
function samplingOptions(params) {
  const { stop, logit_bias: bias } = params;
  return {
    temperature: params.temperature ?? undefined,
    topP: params.top_p ?? undefined,
    seed: params.seed ?? undefined,
    stop: typeof stop === "string" ? [stop] : (stop ?? undefined),
    frequencyPenalty: params.frequency_penalty ?? undefined,
    presencePenalty: params.presence_penalty ?? undefined,
    logitBias: bias ?? undefined,
  };
}

/**
 * The tools of which one must be called; none: the model may choose.
 *
 * @param {ChatParams} params
 * @returns {FunctionTool[]}
 */
function forcedTools({ tools = [], tool_choice: choice = "auto" }) {
  if (choice === "none" || choice === "auto") return [];
  const name = choice === "required" ? null : choice.function.name;
  const forced = tools.filter((tool) => name === null || tool.function.name === name);
  if (forced.length === 0) {
    throw invalid("tool_choice", `there is no tool ${name ?? "at all"} that could be called`);
  }
  return forced;
}

/**
 * @param {ChatParams} params
 * @param {FunctionTool[]} forced
 * @returns {ChatOptions}
 */
function format({ response_format: asked }, forced) {
  if (forced.length > 0) return { jsonSchema: forcedCallSchema(forced) };
  if (asked === undefined || asked.type === "text") return {};
  if (asked.type === "json_object") return { jsonSchema: { type: "object" } };
  return { jsonSchema: asked.json_schema.schema ?? {} };
}

/**
 * @param {Message} message
 * @returns {ChatMessage}
 */
function toChatMessage({ role, content, tool_calls: calls, ...rest }) {
  return {
    ...rest,
    role,
    content: toText(content),
    // templates take the arguments as an object
    ...(calls ? { tool_calls: calls.map(withParsedArguments) } : {}),
  };
}

/** @param {string | TextPart[] | null | undefined} content */
function toText(content) {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content;
  return content.map((part) => {
    if (part.type !== "text") throw invalid("messages", "this model reads text only");
    return part.text;
  }).join("");
}

/** @param {ToolCall} call */
function withParsedArguments(call) {
  try {
    const { name, arguments: text } = call.function;
    return { ...call, function: { name, arguments: JSON.parse(text) } };
  } catch {
    throw invalid("messages", `the arguments of the tool call ${call.id} are no JSON`);
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
async function inTheirWords(work) {
  try {
    return await work();
  } catch (error) {
    throw toAPIError(error);
  }
}

/** @param {unknown} error */
function toAPIError(error) {
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
function invalid(param, message) {
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
