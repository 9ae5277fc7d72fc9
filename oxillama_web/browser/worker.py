"""What a page's worker calls: one model, one answer at a time, no NumPy.

JavaScript owns the event loop. It writes the model's bytes into the kernels' memory and calls
`receive` as they arrive, then `load`, then `start_generate` or `start_chat`, and `step` until that
returns None. Between two steps the worker looks at its messages, so that an answer can be stopped.

web/protocol.js lists the methods that take arguments and return a result, by their names in
JavaScript.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .. import errors
from ..config import EngineConfig
from ..engine import InferenceEngine
from ..inference.token_logprob import token_logprob
from ..sampling import SamplerConfig

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from ..inference.generation import GenerationEvent
    from ..openai import OpenAI
    from ..openai.answers import Steps
    from .streaming_load import ArrivingModel

# A prompt is computed in chunks of at most this many tokens, and for about this many seconds: the
# worker looks for an abort between two chunks.
PREFILL_CHUNK_SIZE = 256
PREFILL_SECONDS = 0.5

# Caches of requests of OpenAI's API that are over: a page has less memory than a server.
PREFIX_CACHE_BYTES = 64 << 20

# The first class that an error is an instance of gives its code, so subclasses come first.
ERROR_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (errors.ModelFormatError, "bad_model"),
    (errors.UnsupportedModelError, "unsupported_model"),
    (errors.TokenizerError, "tokenizer"),
    (errors.ChatTemplateError, "chat_template"),
    (errors.ModelNotLoadedError, "not_loaded"),
    (errors.ConversationChangedError, "conversation_changed"),
    (errors.ContextLengthError, "context_length"),
    (errors.InvalidRequestError, "invalid_request"),
    (errors.ThreadsLostError, "worker_died"),
    (errors.KernelError, "kernel"),
    (MemoryError, "out_of_memory"),
)


class WorkerEngine:
    """One model, and the answer under way if there is one.

    Attributes:
        failure: a description of the last error, as JSON.
    """

    def __init__(self) -> None:
        self.failure = ""
        self._arriving: ArrivingModel | None = None
        self._engine: InferenceEngine | None = None
        self._events: Iterator[GenerationEvent] | None = None
        self._client: OpenAI | None = None
        self._completions: dict[int, tuple[Steps, threading.Event]] = {}

    def call(self, method: str, *arguments: Any) -> str | bytes:
        """Call a method by name, from JavaScript.

        Args:
            method: its name.
            arguments: strings are JSON; numbers and JavaScript's objects are passed as they are.

        Returns:
            The method's result: bytes as they are, everything else as JSON.
        """
        try:
            values = [json.loads(each) if isinstance(each, str) else each for each in arguments]
            result = getattr(self, method)(*values)
            return result if isinstance(result, bytes) else json.dumps(result)
        except Exception as error:
            self.failure = json.dumps(describe(error))
            raise

    def begin(self, pool: Any, tokenizer: Any, context: Mapping[str, Any]) -> None:
        """Prepare for a model in the memory of `pool`, the KernelPool of web/kernels/pool.js.

        Args:
            pool: the memory and its threads.
            tokenizer: a JavaScript buffer of a tokenizer.json; None uses the vocabulary in the
                model's file.
            context: `context_size`, `context_full` and `context_keep` of EngineConfig; the engine
                chooses those that are missing or None.
        """
        from .streaming_load import ArrivingModel

        self._arriving = ArrivingModel(pool, _config(context), _text(tokenizer))

    def receive(
        self, address: int, n_received: int, n_total: int, starts: Sequence[int] = (0,)
    ) -> int:
        """See `ArrivingModel.receive`."""
        if self._arriving is None:
            raise errors.ModelNotLoadedError("begin() comes before receive()")
        return self._arriving.receive(address, n_received, n_total, starts)

    def load(self) -> dict[str, Any]:
        """Take the model, all bytes of which were received, and return `info()`."""
        if self._arriving is None:
            raise errors.ModelNotLoadedError("the model's bytes must come before it is loaded")
        self._engine, self._arriving = self._arriving.engine, None
        return self.info()

    def load_paged(
        self, pool: Any, file: Any, ram_bytes: int, tokenizer: Any, context: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Load a model that stays in its file but for `ram_bytes`, and return `info()`.

        Args:
            pool: as in `begin`.
            file: the RandomAccessFile of web/storage/random_access_file.js.
            ram_bytes: how many bytes of weights are in memory at most.
            tokenizer: as in `begin`.
            context: as in `begin`.
        """
        from .offload_load import open_paged

        self._engine = open_paged(pool, file, ram_bytes, _config(context), _text(tokenizer))
        return self.info()

    def info(self) -> dict[str, Any]:
        """Return what the page may show of the model: the EngineInfo of web/protocol.js."""
        engine = self._loaded()
        model = engine.model_config
        assert model is not None  # one is loaded
        return {
            "name": model.name,
            "architecture": model.architecture,
            "isEncoder": engine.is_encoder,
            "isReranker": engine.is_reranker,
            "hasChatTemplate": engine.has_chat_template,
            "contextLength": model.context_length,
            "contextSize": model.context_size,
            "layers": model.n_layers,
            "hiddenSize": model.hidden_size,
            "vocabularySize": model.vocab_size,
            "executor": engine.executor_name,
            "kernels": engine.executor_name.removeprefix("pool-"),
            "memoryBytes": engine.memory_bytes,
        }

    def start_generate(self, prompt: str, options: Mapping[str, Any]) -> int:
        """Begin to continue `prompt`, and return how many tokens are cached; `step` goes on.

        Args:
            prompt: the text.
            options: keyword arguments of `InferenceEngine.events`, with `sampler` as a mapping of
                fields of SamplerConfig.
        """
        return self._start("events", prompt, options)

    def start_chat(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> int:
        """As `start_generate`, for the answer to a list of {role, content}."""
        return self._start("chat_events", messages, options)

    def step(self) -> dict[str, Any] | None:
        """Compute one chunk of the prompt or one token; None once nothing is left.

        Returns:
            The AnswerStep of web/worker/answer_meter.js.

        Raises:
            ConversationChangedError: the conversation was reset, restored or begun anew meanwhile.
            ModelNotLoadedError: the model was closed.
        """
        self._loaded()
        events, self._events = self._events, None
        event = None if events is None else next(events, None)
        if event is None:
            return None
        self._events = events
        return {
            "phase": event.phase,
            "text": event.text,
            "done": event.n_done,
            "total": event.n_total,
            "finishReason": event.finish_reason,
            "logprobs": self._logprobs(event),
        }

    def start_completion(
        self, number: int, path: str, request: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Begin a request of OpenAI's API; `step_completion` goes on.

        Args:
            number: names the request from now on.
            path: such as "chat/completions".
            request: its parameters.

        Returns:
            None, or the `Completed` of web/protocol.js if the request is wrong.
        """
        import threading

        from ..openai import APIError, OpenAI

        if self._client is None:
            self._client = OpenAI(self._loaded())
        try:
            cancel = threading.Event()
            self._completions[number] = self._client.steps(path, request, cancel), cancel
        except APIError as error:
            return error.body_with_status()
        return None

    def step_completion(self, number: int) -> dict[str, Any]:
        """Compute one chunk of a prompt or one token of a request.

        Returns:
            The chunks that are complete now, or a `Completed` of web/protocol.js, after which the
            request is over.
        """
        from ..openai import APIError

        try:
            return {"chunks": next(self._completions[number][0])}
        except StopIteration as end:
            completed: dict[str, Any] = {"whole": end.value}
        except APIError as error:
            completed = error.body_with_status()
        del self._completions[number]
        return completed

    def stop_completion(self, number: int) -> None:
        """Let a request end with its next steps, and with what it has so far."""
        self._completions[number][1].set()

    def stop(self) -> None:
        """End the answer under way; its tokens so far stay in the cache."""
        events, self._events = self._events, None
        close = getattr(events, "close", None)
        if close is not None:
            close()

    def context_tokens(self) -> int:
        """Return how many tokens of the context are in use."""
        return self._loaded().kv_cache_seq_len

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        return list(self._loaded().tokenize(text))

    def render_chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the prompt that the model's chat template makes of a list of {role, content}."""
        return self._loaded().render_chat(messages)

    def count_chat_tokens(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Return how many tokens that prompt has."""
        return len(self._loaded().tokenize_chat(messages))

    def embed(self, texts: Sequence[str], options: Mapping[str, Any]) -> list[list[float]]:
        """Return a vector for each text; the options are those of `embed_batch`."""
        return self._loaded().embed_batch(texts, **options)

    def rerank(
        self, query: str, documents: Sequence[str], options: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the documents' places and scores, the best one first: see web/protocol.js."""
        ranked = self._loaded().rerank(query, documents, options.get("topN"))
        return [{"index": each.index, "relevanceScore": each.relevance_score} for each in ranked]

    def save_conversation(self) -> bytes:
        """Return the conversation as bytes, which `restore_conversation` takes."""
        snapshot = self._loaded().kv_snapshot()
        assert snapshot is not None  # a model is loaded
        return snapshot.to_bytes()

    def restore_conversation(self, data: Any) -> int:
        """Continue a saved conversation, and return how many tokens it has.

        Args:
            data: what `save_conversation` returned, as bytes or a JavaScript buffer.
        """
        from ..inference.snapshots import KVSnapshot

        self._loaded().kv_restore(KVSnapshot.from_bytes(_bytes(data)))
        return self.context_tokens()

    def push_lora(self, data: Any, scale: float) -> None:
        """Apply an adapter: its file, as bytes or a JavaScript buffer."""
        from ..plan.lora import LoraAdapter

        self._loaded().push_lora(LoraAdapter(_bytes(data)), scale)

    def clear_loras(self) -> None:
        """Remove all adapters."""
        self._loaded().clear_loras()

    def metrics(self) -> str:
        """Return what the engine has done so far, as Prometheus text."""
        return self._loaded().metrics_snapshot().to_prometheus()

    def reset(self) -> None:
        """Clear the conversation; the model stays loaded."""
        self._loaded().reset()

    def close(self) -> None:
        """Free the model and its memory."""
        self.stop()
        engine, self._engine, self._arriving = self._engine, None, None
        if engine is not None:
            engine.close()

    def _start(self, method: str, prompt: Any, options: Mapping[str, Any]) -> int:
        engine = self._loaded()
        self.stop()
        arguments = {**options, "sampler": _sampler(options["sampler"])}
        self._events = getattr(engine, method)(prompt, **arguments)
        return self.context_tokens()

    def _logprobs(self, event: GenerationEvent) -> dict[str, Any] | None:
        """Describe the log-probabilities of a token and its alternatives, if they are known."""
        if event.logprobs is None or event.token is None:
            return None
        tokenizer = self._loaded().tokenizer
        chosen = token_logprob(tokenizer, event.token, event.logprobs.chosen)
        return {**chosen, "top": [token_logprob(tokenizer, *pair) for pair in event.logprobs.top]}

    def _loaded(self) -> InferenceEngine:
        if self._engine is None:
            raise errors.ModelNotLoadedError("no model is loaded")
        return self._engine


def describe(error: BaseException) -> dict[str, str]:
    """Describe an exception for the page: its code, class and message, and the traceback."""
    import traceback

    code = next((code for kind, code in ERROR_CODES if isinstance(error, kind)), "internal")
    return {
        "code": code,
        "type": type(error).__name__,
        "message": str(error) or "no further description",
        "detail": "".join(traceback.format_exception(error)),
    }


def _config(context: Mapping[str, Any]) -> EngineConfig:
    given = {name: value for name, value in context.items() if value is not None}
    return EngineConfig(
        prefill_chunk_size=PREFILL_CHUNK_SIZE,
        prefill_seconds=PREFILL_SECONDS,
        prefix_cache_bytes=PREFIX_CACHE_BYTES,
        **given,
    )


def _sampler(options: Mapping[str, Any]) -> SamplerConfig:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    if "logit_bias" in fields:
        # JSON has no numbers as keys
        fields["logit_bias"] = {int(key): value for key, value in fields["logit_bias"].items()}
    return SamplerConfig(**fields)


def _text(buffer: Any) -> str | None:
    return None if buffer is None else _bytes(buffer).decode("utf-8-sig", "replace")


def _bytes(buffer: Any) -> bytes:
    """Copy bytes, or a JavaScript buffer of them."""
    return bytes(buffer.to_bytes() if hasattr(buffer, "to_bytes") else buffer)
