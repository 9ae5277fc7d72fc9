/** The parameters of OpenAI's API, and the options of OxiLlama that they become. */

import { invalid } from "./errors.js";
import { forcedCallSchema } from "./tool_calls.js";

/**
 * @import { ChatMessage } from "../../protocol.js"
 * @import { ChatOptions } from "../options.js"
 * @import { FunctionTool, ToolCall } from "./tool_calls.js"
 *
 * @typedef {{type: "text", text: string}} TextPart
 * @typedef {{role: string, content?: string | TextPart[] | null, name?: string,
 *   tool_calls?: ToolCall[], tool_call_id?: string}} Message
 * @typedef {"none" | "auto" | "required" | {type: "function", function: {name: string}}} ToolChoice
 * @typedef {{type: "text"} | {type: "json_object"}
 *   | {type: "json_schema", json_schema: {name?: string, schema?: object}}} ResponseFormat
 *
 * @typedef {object} SamplingParams  the engine chooses what is left out
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

/**
 * @param {SamplingParams} params
 * @returns {ChatOptions}
 */
export function samplingOptions(params) {
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
 * Return the tools of which one must be called; an empty list leaves the choice to the model.
 *
 * @param {ChatParams} params
 * @returns {FunctionTool[]}
 */
export function forcedTools({ tools = [], tool_choice: choice = "auto" }) {
  if (choice === "none" || choice === "auto") return [];
  const name = choice === "required" ? null : choice.function.name;
  const forced = tools.filter((tool) => name === null || tool.function.name === name);
  if (forced.length === 0) {
    throw invalid("tool_choice", `there is no tool ${name === null ? "" : `${name} `}to call`);
  }
  return forced;
}

/**
 * @param {ChatParams} params
 * @param {FunctionTool[]} forced
 * @returns {ChatOptions}
 */
export function format({ response_format: wanted }, forced) {
  if (forced.length > 0) return { jsonSchema: forcedCallSchema(forced) };
  if (wanted === undefined || wanted.type === "text") return {};
  if (wanted.type === "json_object") return { jsonSchema: { type: "object" } };
  return { jsonSchema: wanted.json_schema.schema ?? {} };
}

/**
 * @param {Message} message
 * @returns {ChatMessage}
 */
export function toChatMessage({ role, content, tool_calls: calls, ...rest }) {
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
    throw invalid("messages", `the arguments of the tool call ${call.id} are not JSON`);
  }
}
