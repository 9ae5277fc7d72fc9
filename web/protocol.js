/**
 * The messages between the page (oxillama.js) and its worker (worker/worker.js).
 * docs/worker-protocol.md tells the same in words.
 *
 * Every request carries an `id`; every reply names the request's `id`. A request ends with exactly
 * one `done` or `error`.
 */

/** Raised when the two sides would not understand each other. */
export const PROTOCOL_VERSION = 3;

/**
 * @typedef {{kind: "url", url: string} | {kind: "blob", blob: Blob}
 *   | {kind: "buffer", buffer: ArrayBuffer}
 *   | {kind: "stream", stream: ReadableStream<Uint8Array>,
 *      size: number | null}} ByteSource  where the bytes of a file come from
 *
 * @typedef {"use" | "check" | "off"} CacheMode  of the models on this device: use them; ask their
 *   server first whether they are current; neither read nor keep any
 *
 * @typedef {{role: string, content: string} & Record<string, unknown>} ChatMessage  templates may
 *   know more, such as tool_calls
 *
 * @typedef {object} SamplerOptions  snake_case: these are the fields of Python's SamplerConfig
 * @property {number} [temperature]
 * @property {number} [top_k]
 * @property {number} [top_p]
 * @property {number} [min_p]
 * @property {number} [typical_p]
 * @property {number} [top_a]
 * @property {number} [epsilon_cutoff]
 * @property {number} [eta_cutoff]
 * @property {number} [repetition_penalty]
 * @property {number} [repetition_penalty_window]
 * @property {number} [frequency_penalty]
 * @property {number} [presence_penalty]
 * @property {number} [dry_multiplier]
 * @property {number} [dry_base]
 * @property {number} [dry_allowed_length]
 * @property {number} [xtc_threshold]
 * @property {number} [xtc_probability]
 * @property {number} [mirostat]
 * @property {number} [mirostat_tau]
 * @property {number} [mirostat_eta]
 * @property {number} [dynatemp_range]
 * @property {number} [dynatemp_exponent]
 * @property {Record<number, number>} [logit_bias]
 * @property {number[]} [banned_tokens]
 * @property {string} [grammar]
 * @property {unknown} [json_schema]
 * @property {number} [seed]
 *
 * @typedef {{max_tokens?: number, stop?: string[], logprobs?: number, tools?: object[],
 *   variables?: Record<string, unknown>, sampler: SamplerOptions}} AnswerOptions
 *
 * @typedef {{context_size?: number, context_full?: "stop" | "shift",
 *   context_keep?: number}} ContextOptions  snake_case: these are fields of Python's EngineConfig
 *
 * @typedef {{type: "load", id: number, version: number, calledAt: number, model: ByteSource[],
 *   tokenizer: ByteSource | null, context: ContextOptions, threads: number | null,
 *   cache: CacheMode, memoryBudget: number | null}} LoadRequest  `calledAt` is in milliseconds
 *   since 1970, with fractions; `model`: its files, in their order; `threads` null: as many as
 *   help; `memoryBudget`: bytes of weights, null for all of them
 * @typedef {{type: "generate", id: number, prompt: string,
 *   options: AnswerOptions}} GenerateRequest
 * @typedef {{type: "chat", id: number, messages: ChatMessage[],
 *   options: AnswerOptions}} ChatRequest
 * @typedef {{type: "tokenize", id: number, text: string}} TokenizeRequest
 * @typedef {{type: "renderChat", id: number, messages: ChatMessage[]}} RenderChatRequest
 * @typedef {{type: "countChatTokens", id: number,
 *   messages: ChatMessage[]}} CountChatTokensRequest
 * @typedef {{pooling?: "last" | "mean" | "max" | "cls", normalize?: boolean}} EmbedOptions
 * @typedef {{type: "embed", id: number, texts: string[], options: EmbedOptions}} EmbedRequest
 * @typedef {{type: "saveSession", id: number}} SaveSessionRequest
 * @typedef {{type: "loadSession", id: number, bytes: Uint8Array}} LoadSessionRequest
 * @typedef {{type: "pushLora", id: number, bytes: Uint8Array, scale: number}} PushLoraRequest
 * @typedef {{type: "clearLoras", id: number}} ClearLorasRequest
 * @typedef {{type: "metrics", id: number}} MetricsRequest
 * @typedef {{type: "reset", id: number}} ResetRequest
 * @typedef {{type: "abort", id: number}} AbortRequest  `id` is that of the request to abort; it has
 *   no reply of its own
 * @typedef {{type: "close"}} CloseRequest  end the threads; the reply is "closed"
 * @typedef {LoadRequest | GenerateRequest | ChatRequest | TokenizeRequest | RenderChatRequest
 *   | CountChatTokensRequest | EmbedRequest | SaveSessionRequest | LoadSessionRequest
 *   | PushLoraRequest | ClearLorasRequest | MetricsRequest | ResetRequest | AbortRequest
 *   | CloseRequest} Request
 */

/**
 * @typedef {"runtime" | "download" | "read" | "load"} LoadPhase  Python starts; bytes arrive from a
 *   server, or from this device; weights are made ready. The first one runs beside the next two.
 *
 * @typedef {object} LoadProgress
 * @property {LoadPhase} phase
 * @property {number} bytes  of the model that came; 0 for "runtime" and "load"
 * @property {number | null} total  of all its files; null where that is not known
 * @property {number | null} secondsLeft  until all bytes are here, at the speed of the last five
 *   seconds; null where that cannot be told
 *
 * @typedef {{type: "progress", id: number, progress: LoadProgress}} ProgressReply
 * @typedef {{type: "prefill", id: number, done: number, total: number}} PrefillReply  prompt tokens
 * @typedef {{type: "piece", id: number, text: string}} PieceReply
 * @typedef {{token: string, bytes: number[], logprob: number}} TokenProbability  natural logarithm
 * @typedef {TokenProbability & {top: TokenProbability[]}} TokenLogprobs
 * @typedef {{type: "logprobs", id: number, token: TokenLogprobs}} LogprobsReply
 * @typedef {{type: "done", id: number, result: unknown}} DoneReply
 * @typedef {{type: "error", id: number, error: import("./errors.js").ErrorDescription}} ErrorReply
 * @typedef {{type: "alive"}} AliveReply  the worker holds the Web Lock of its name from now on;
 *   when someone else gets it, the worker is no more
 * @typedef {{type: "startThread", port: MessagePort, failure: MessagePort}} StartThreadReply  the
 *   page starts kernel_thread.js, hands it `port`, and says to `failure` why it cannot run
 * @typedef {{type: "closed"}} ClosedReply  to "close": the worker may be terminated
 * @typedef {ProgressReply | PrefillReply | PieceReply | LogprobsReply | DoneReply
 *   | ErrorReply} Reply  these have
 *   the id of a request
 */

/**
 * @typedef {object} StartupTimes  milliseconds
 * @property {number} runtime  from the call of `load` until Python was ready
 * @property {number} download  from the same moment until the kernels' memory held the last byte
 * @property {number} load  the engine's own work after that
 * @property {number} ready  all of it
 * @property {boolean} snapshot  Python came from the memory snapshot
 *
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {string} architecture
 * @property {boolean} isEncoder  it gives vectors (`embed`) and no text
 * @property {number} contextLength  tokens, which the model was trained for
 * @property {number} contextSize  tokens, which it was loaded for
 * @property {number} layers
 * @property {number} hiddenSize
 * @property {number} vocabularySize
 * @property {string} executor
 * @property {number} memoryBytes
 * @property {number} heapBytes  Python's whole memory; the model is not in it
 * @property {number} threads  that run the model
 * @property {boolean} isolated  the page is cross-origin isolated, so that threads can share memory
 * @property {string} threadsNote  why there are not more threads; "" where nothing is in the way
 * @property {"relaxed" | "relaxed-pairs" | "simd128"} kernels  the kernel library in use
 * @property {{hit: boolean, stored: boolean, note: string}} cache  whether the model came from this
 *   device, whether it is kept here now, and else why not
 * @property {StartupTimes} startup
 *
 * @typedef {"stop" | "length" | "context" | "aborted" | string} FinishReason  "context": it is full
 *
 * @typedef {object} AnswerStats
 * @property {number} cachedTokens  tokens before those, which the cache held already
 * @property {number} promptTokens  tokens of the prompt that were computed
 * @property {number} tokens  tokens of the answer
 * @property {number} prefillTokensPerSecond
 * @property {number} decodeTokensPerSecond  from the second token on; 0 for shorter answers
 * @property {number} timeToFirstToken  milliseconds
 * @property {number} contextTokens  of the whole conversation, in the model's cache now
 * @property {FinishReason} finishReason
 */
