/**
 * The messages between the page (oxillama.js) and its worker (worker/worker.js).
 * docs/worker-protocol.md explains them in words.
 *
 * Every request has an `id`, and every reply has the `id` of its request. A request ends with
 * exactly one `done` or `error`.
 */

/** The page and the worker refuse each other if their versions differ. */
export const PROTOCOL_VERSION = 5;

/**
 * The methods of a loaded model that take arguments and return a result. Each has its public method
 * in oxillama.js, a request of its name, and its method in Python's WorkerEngine
 * (oxillama_web/browser/worker.py), whose name is in snake_case.
 *
 * @typedef {{
 *   tokenize(args: {text: string}): number[],
 *   renderChat(args: {messages: ChatMessage[]}): string,
 *   countChatTokens(args: {messages: ChatMessage[]}): number,
 *   embed(args: {texts: string[], options: EmbedOptions}): number[][],
 *   rerank(args: {query: string, documents: string[], options: RerankOptions}): RankedDocument[],
 *   saveConversation(args: {}): Uint8Array<ArrayBuffer>,
 *   restoreConversation(args: {bytes: Uint8Array}): number,
 *   pushLora(args: {bytes: Uint8Array, scale: number}): void,
 *   clearLoras(args: {}): void,
 *   metrics(args: {}): string,
 *   reset(args: {}): void,
 * }} Methods
 *
 * @typedef {{[Name in keyof Methods]: (keyof Parameters<Methods[Name]>[0])[]}} ArgumentNames
 */

/**
 * The names of their arguments in Python's order. Bytes and numbers reach Python as they are, and
 * everything else as JSON. Results are JSON, or bytes, which are transferred to the page.
 *
 * @type {ArgumentNames}
 */
export const METHODS = {
  tokenize: ["text"],
  renderChat: ["messages"],
  countChatTokens: ["messages"],
  embed: ["texts", "options"],
  rerank: ["query", "documents", "options"],
  saveConversation: [],
  restoreConversation: ["bytes"],
  pushLora: ["bytes", "scale"],
  clearLoras: [],
  metrics: [],
  reset: [],
};

/** The same for the methods that answer piece by piece; Python's begin with `start_`. */
export const ANSWERS = /** @type {const} */ ({
  generate: ["prompt", "options"],
  chat: ["messages", "options"],
});

/**
 * @param {string} name  in camelCase
 * @returns {string} the same name in Python's snake_case
 */
export function toSnakeCase(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * @typedef {{kind: "url", url: string} | {kind: "blob", blob: Blob}
 *   | {kind: "buffer", buffer: ArrayBuffer}
 *   | {kind: "stream", stream: ReadableStream<Uint8Array>,
 *      size: number | null}} ByteSource  where the bytes of a file come from
 *
 * @typedef {"use" | "check" | "off"} CacheMode  what to do with the models on this device: use
 *   them; ask their server first whether they are current; neither use nor keep any
 *
 * @typedef {{role: string, content: string} & Record<string, unknown>} ChatMessage  templates may
 *   use more members, such as tool_calls
 *
 * @typedef {{max_tokens?: number, stop?: string[], logprobs?: number, tools?: object[],
 *   variables?: Record<string, unknown>,
 *   sampler: Record<string, unknown>}} AnswerOptions  keyword arguments in Python; `sampler` has
 *   fields of Python's SamplerConfig
 *
 * @typedef {{context_size?: number, context_full?: "stop" | "shift",
 *   context_keep?: number}} ContextOptions  fields of Python's EngineConfig
 *
 * @typedef {{pooling?: "last" | "mean" | "max" | "cls", normalize?: boolean}} EmbedOptions
 *
 * @typedef {{topN?: number}} RerankOptions  how many documents are returned
 * @typedef {{index: number, relevanceScore: number}} RankedDocument  its place among the documents,
 *   and how well it answers the query
 */

/**
 * @typedef {object} LoadRequest
 * @property {"load"} type
 * @property {number} id
 * @property {number} version
 * @property {number} calledAt  milliseconds since 1970, with fractions
 * @property {ByteSource[]} model  its files in their order
 * @property {ByteSource | null} tokenizer
 * @property {ContextOptions} context
 * @property {number | null} threads  null: as many as help
 * @property {CacheMode} cache
 * @property {number | null} memoryBudget  bytes of weights in memory; null: all of them
 *
 * @typedef {{type: "generate", id: number, prompt: string, options: AnswerOptions}
 *   | {type: "chat", id: number, messages: ChatMessage[], options: AnswerOptions}} AnswerRequest
 * @typedef {{type: "complete", id: number, path: string, params: object}} CompleteRequest  a
 *   request of OpenAI's API; several are answered side by side
 * @typedef {{[Name in keyof Methods]:
 *   {type: Name, id: number} & Parameters<Methods[Name]>[0]}[keyof Methods]} CallRequest
 * @typedef {{type: "abort", id: number}} AbortRequest  `id` is that of the request to abort; this
 *   one has no reply
 * @typedef {{type: "close"}} CloseRequest  end the threads; the reply is "closed"
 * @typedef {LoadRequest | AnswerRequest | CompleteRequest | CallRequest | AbortRequest
 *   | CloseRequest} Request
 */

/**
 * @typedef {"runtime" | "download" | "read" | "load"} LoadPhase  Python starts; bytes arrive from a
 *   server, or from this device; weights are prepared. The first phase runs beside the next two.
 *
 * @typedef {object} LoadProgress
 * @property {LoadPhase} phase
 * @property {number} bytes  of the model that have arrived; 0 for "runtime" and "load"
 * @property {number | null} total  bytes of all its files; null if that is not known
 * @property {number | null} secondsLeft  until all bytes are here, at the speed of the last five
 *   seconds; null if that cannot be told
 *
 * @typedef {{type: "progress", id: number, progress: LoadProgress}} ProgressReply
 * @typedef {{type: "prefill", id: number, done: number, total: number}} PrefillReply  prompt tokens
 * @typedef {{type: "piece", id: number, text: string, tokens: number}} PieceReply  `tokens`: of the
 *   answer so far
 * @typedef {{token: string, bytes: number[], logprob: number}} TokenProbability  natural logarithm
 * @typedef {TokenProbability & {top: TokenProbability[]}} TokenLogprobs
 * @typedef {{type: "logprobs", id: number, token: TokenLogprobs}} LogprobsReply
 * @typedef {{status: number, message: string, type: string, param: string | null,
 *   code: string | null}} APIErrorBody  of OpenAI's API, with the HTTP status that it would have
 * @typedef {{whole: object} | {error: APIErrorBody}} Completed
 * @typedef {{type: "chunks", id: number, chunks: object[]}} ChunksReply  of a completion; the first
 *   one, which may be empty, says that the request is right
 * @typedef {{type: "done", id: number, result: unknown}} DoneReply
 * @typedef {{type: "error", id: number, error: import("./errors.js").ErrorDescription}} ErrorReply
 * @typedef {ProgressReply | PrefillReply | PieceReply | LogprobsReply | ChunksReply | DoneReply
 *   | ErrorReply} Reply  these have the id of a request
 *
 * @typedef {{type: "alive"}} AliveReply  from now on the worker holds the Web Lock of its name;
 *   whoever gets the lock next knows that the worker has ended
 * @typedef {{type: "startThread", port: MessagePort, failure: MessagePort}} StartThreadReply  the
 *   page starts kernel_thread.js, hands it `port`, and tells `failure` why it cannot run
 * @typedef {{type: "closed"}} ClosedReply  to "close": the worker may be terminated
 */

/**
 * @typedef {object} StartupTimes  milliseconds
 * @property {number} runtime  from the call of `load` until Python was ready
 * @property {number} download  from the same moment until the kernels' memory held the last byte
 * @property {number} load  the engine's own work after that
 * @property {number} ready  all of it
 * @property {boolean} snapshot  Python started from the memory snapshot
 *
 * @typedef {object} EngineInfo  what Python says of a model
 * @property {string} name
 * @property {string} architecture
 * @property {boolean} isEncoder  it returns vectors (`embed`) and no text
 * @property {boolean} isReranker  it scores documents (`rerank`) and writes no text
 * @property {boolean} hasChatTemplate  it can `chat`; else it can only `generate`
 * @property {number} contextLength  tokens, which the model was trained for
 * @property {number} contextSize  tokens, which it was loaded for
 * @property {number} layers
 * @property {number} hiddenSize
 * @property {number} vocabularySize
 * @property {string} executor
 * @property {"relaxed" | "relaxed-pairs" | "simd128"} kernels  the kernel library in use
 * @property {number} memoryBytes
 *
 * @typedef {object} WorkerInfo  what the worker adds
 * @property {number} heapBytes  Python's whole memory, which does not hold the model
 * @property {number} threads  that run the model
 * @property {boolean} isolated  the page is cross-origin isolated, so threads can share memory
 * @property {string} threadsNote  why there are not more threads; "" if nothing prevents it
 * @property {{hit: boolean, stored: boolean, note: string}} cache  whether the model came from this
 *   device, whether it is kept here now, and if not, why
 * @property {StartupTimes} startup
 *
 * @typedef {EngineInfo & WorkerInfo} ModelInfo
 *
 * @typedef {"stop" | "length" | "context" | "aborted" | string} FinishReason  "context": it is full
 *
 * @typedef {object} AnswerStats
 * @property {number} cachedTokens  tokens that were in the cache already
 * @property {number} promptTokens  tokens of the prompt after those, which were computed
 * @property {number} tokens  tokens of the answer
 * @property {number} prefillTokensPerSecond
 * @property {number} decodeTokensPerSecond  from the second token on; 0 for shorter answers
 * @property {number} timeToFirstToken  milliseconds
 * @property {number} contextTokens  tokens of the whole conversation that are in the cache now
 * @property {FinishReason} finishReason
 */
