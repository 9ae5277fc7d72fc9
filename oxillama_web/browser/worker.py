"""The Python side of a page's worker: one model, one answer at a time, no NumPy.

JavaScript owns the event loop. It writes the model's bytes into the kernels' memory and calls
`receive` while they come, then `load`, then `start_prompt` or `start_chat`, and `step` until that
returns False. Between two steps the worker looks at its messages, so that an answer can be stopped.
Values that cross are numbers, strings and JSON: nothing that JavaScript would have to destroy.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from .. import errors
from ..config import EngineConfig
from ..engine import InferenceEngine
from ..sampling import SamplerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from ..inference.generation import GenerationEvent
    from .streaming_load import ArrivingModel

    # phase, text, done, total, finish reason ("" while the answer goes on)
    Emit = Callable[[str, str, int, int, str, str], object]

# A prompt is computed in pieces of at most so many tokens and, about, seconds: Stop is looked at
# between two pieces.
PREFILL_CHUNK_SIZE = 256
PREFILL_SECONDS = 0.5

# What a page uses sooner or later; a memory snapshot has it imported.
PRELOADED_MODULES = (
    "traceback",
    "oxillama_web.architectures.gemma3",
    "oxillama_web.architectures.llama",
    "oxillama_web.architectures.qwen2",
    "oxillama_web.architectures.qwen3",
    "oxillama_web.browser.streaming_load",
)

# The most specific class comes first: the code of an error is that of the first class it is of.
ERROR_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (errors.ModelFormatError, "bad_model"),
    (errors.UnsupportedModelError, "unsupported_model"),
    (errors.TokenizerError, "tokenizer"),
    (errors.ChatTemplateError, "chat_template"),
    (errors.ModelNotLoadedError, "not_loaded"),
    (errors.ContextLengthError, "context_length"),
    (errors.InvalidRequestError, "invalid_request"),
    (errors.ThreadsLostError, "worker_died"),
    (errors.KernelError, "kernel"),
    (MemoryError, "out_of_memory"),
)


class Session:
    """One model in this worker, and the answer under way, if there is one.

    Args:
        emit: called once for each step of an answer.
    """

    def __init__(self, emit: Emit) -> None:
        self.failure = ""
        self._emit = emit
        self._arriving: ArrivingModel | None = None
        self._engine: InferenceEngine | None = None
        self._events: Iterator[GenerationEvent] | None = None

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method by name; when it fails, `failure` describes why, as JSON."""
        try:
            return getattr(self, method)(*arguments)
        except Exception as error:
            self.failure = json.dumps(describe(error))
            raise

    def begin(self, pool: Any, tokenizer_json: str | None, context_json: str = "{}") -> None:
        """Make ready for a model in the memory of `pool`, the KernelPool of kernel_pool.js.

        Args:
            pool: the memory and its threads.
            tokenizer_json: None uses the vocabulary in the model's file.
            context_json: `context_size`, `context_full` and `context_keep` of EngineConfig; those
                that are left out or null are the engine's choice.
        """
        from .streaming_load import ArrivingModel

        self._arriving = ArrivingModel(pool, _config(context_json), tokenizer_json)

    def receive(self, address: int, n_received: int, n_total: int, starts_json: str = "[0]") -> int:
        """See `ArrivingModel.receive`."""
        if self._arriving is None:
            raise errors.ModelNotLoadedError("begin() comes before receive()")
        starts = json.loads(starts_json)
        return self._arriving.receive(address, n_received, n_total, starts)

    def load(self) -> str:
        """Take the model, all bytes of which were received; returns `info()`."""
        if self._arriving is None:
            raise errors.ModelNotLoadedError("the model's bytes must come before it is loaded")
        self._engine, self._arriving = self._arriving.engine, None
        return self.info()

    def load_paged(
        self,
        pool: Any,
        file: Any,
        ram_bytes: int,
        tokenizer_json: str | None,
        context_json: str = "{}",
    ) -> str:
        """Take a model that stays in a file (paged_file.js) but for `ram_bytes`; `info()`."""
        from .offload_load import open_paged

        config = _config(context_json)
        self._engine = open_paged(pool, file, ram_bytes, config, tokenizer_json)
        return self.info()

    def info(self) -> str:
        """What the page may want to show of the model, as JSON."""
        engine = self._loaded()
        model = engine.model_config
        return json.dumps(
            {
                "name": model.name,
                "architecture": model.architecture,
                "isEncoder": engine.is_encoder,
                "contextLength": model.context_length,
                "contextSize": model.context_size,
                "layers": model.n_layers,
                "hiddenSize": model.hidden_size,
                "vocabularySize": model.vocab_size,
                "executor": engine.executor_name,
                "kernels": engine.executor_name.removeprefix("pool-"),
                "memoryBytes": engine.memory_bytes,
            }
        )

    def start_prompt(self, prompt: str, options_json: str) -> None:
        """Begin to continue `prompt`; `step` does the work."""
        self._start("events", prompt, options_json)

    def start_chat(self, messages_json: str, options_json: str) -> None:
        """Begin to answer a list of {role, content}; `step` does the work."""
        self._start("chat_events", json.loads(messages_json), options_json)

    def step(self) -> bool:
        """Compute one piece of the prompt or one token and emit it; False once nothing is left."""
        if self._events is None:
            return False
        event = next(self._events, None)
        if event is None:
            self._events = None
            return False
        finish_reason = event.finish_reason or ""
        self._emit(
            event.phase, event.text, event.n_done, event.n_total, finish_reason,
            self._logprobs(event) if event.logprobs is not None else "",
        )  # fmt: skip
        return True

    def context_tokens(self) -> int:
        """How many tokens of the context are in use."""
        return self._loaded().kv_cache_seq_len

    def metrics(self) -> str:
        """What the engine has done so far, as Prometheus text."""
        return self._loaded().metrics_snapshot().to_prometheus()

    def stop(self) -> None:
        """Drop the answer under way; the tokens so far stay in the cache."""
        events, self._events = self._events, None
        close = getattr(events, "close", None)
        if close is not None:
            close()

    def save_conversation(self) -> bytes:
        """The conversation as a file, which `restore_conversation` takes: bytes."""
        return self._loaded().kv_snapshot().to_bytes()

    def restore_conversation(self, file: Any) -> None:
        """Go on from what `save_conversation` gave: bytes, or a JavaScript buffer of them."""
        from ..inference.snapshots import KVSnapshot

        self.stop()
        data = file.to_bytes() if hasattr(file, "to_bytes") else bytes(file)
        self._loaded().kv_restore(KVSnapshot.from_bytes(data))

    def embed(self, texts_json: str, options_json: str) -> str:
        """Vectors of a list of texts, as JSON; the options are those of `embed_batch`."""
        texts, options = json.loads(texts_json), json.loads(options_json)
        return json.dumps(self._loaded().embed_batch(texts, **options))

    def count_chat_tokens(self, messages_json: str) -> int:
        """How many tokens a conversation has as the model's chat template writes it."""
        return len(self._loaded().tokenize_chat(json.loads(messages_json)))

    def push_lora(self, file: Any, scale: float) -> None:
        """Apply an adapter: bytes of its file, or a JavaScript buffer of them."""
        from ..plan.lora import LoraAdapter

        self.stop()
        data = file.to_bytes() if hasattr(file, "to_bytes") else bytes(file)
        self._loaded().push_lora(LoraAdapter(data), scale)

    def clear_loras(self) -> None:
        """Take all adapters away."""
        self.stop()
        self._loaded().clear_loras()

    def tokenize(self, text: str) -> str:
        """The token ids of a text, as JSON."""
        return json.dumps(list(self._loaded().tokenize(text)))

    def render_chat(self, messages_json: str) -> str:
        """The prompt that the model's own chat template makes of a list of {role, content}."""
        return self._loaded().render_chat(json.loads(messages_json))

    def reset(self) -> None:
        """Forget the conversation; the model stays loaded."""
        self.stop()
        self._loaded().reset()

    def close(self) -> None:
        """Let go of the model and its memory."""
        self.stop()
        engine, self._engine, self._arriving = self._engine, None, None
        if engine is not None:
            engine.close()

    def _start(self, method: str, prompt: Any, options_json: str) -> None:
        engine = self._loaded()
        self.stop()
        options = json.loads(options_json)
        sampler = options.pop("sampler")
        if "logit_bias" in sampler:
            # JSON has no numbers as keys
            sampler["logit_bias"] = {
                int(key): value for key, value in sampler["logit_bias"].items()
            }
        if "banned_tokens" in sampler:
            sampler["banned_tokens"] = tuple(sampler["banned_tokens"])
        arguments: dict[str, Any] = {"sampler": SamplerConfig(**sampler)}
        arguments.update(options)
        self._events = getattr(engine, method)(prompt, **arguments)

    def _logprobs(self, event: GenerationEvent) -> str:
        """A token's log-probability and its alternatives', as JSON."""
        assert event.logprobs is not None and event.token is not None
        tokenizer = self._loaded().tokenizer

        def described(token: int, logprob: float) -> dict[str, Any]:
            data = tokenizer.token_bytes(token)
            # JSON has no infinity
            return {
                "token": data.decode("utf-8", "replace"),
                "bytes": list(data),
                "logprob": max(logprob, -9999.0),
            }

        chosen = described(event.token, event.logprobs.chosen)
        return json.dumps({**chosen, "top": [described(*pair) for pair in event.logprobs.top]})

    def _loaded(self) -> InferenceEngine:
        if self._engine is None:
            raise errors.ModelNotLoadedError("no model is loaded")
        return self._engine


def _config(context_json: str) -> EngineConfig:
    context = {name: value for name, value in json.loads(context_json).items() if value is not None}
    return EngineConfig(
        prefill_chunk_size=PREFILL_CHUNK_SIZE, prefill_seconds=PREFILL_SECONDS, **context
    )


def describe(error: BaseException) -> dict[str, str]:
    """An exception as the page reports it: a code, its class and message, and the traceback."""
    import traceback

    code = next((code for kind, code in ERROR_CODES if isinstance(error, kind)), "internal")
    message = str(error) or "no further description"
    _write_frozen_files(list(_frozen_files))  # for the traceback's lines
    return {
        "code": code,
        "type": type(error).__name__,
        "message": message,
        "detail": "".join(traceback.format_exception(error)),
    }


def prepare_snapshot() -> None:
    """Make ready for a memory snapshot: import what a page uses, and take the files along.

    A memory snapshot holds no file system, so the packages' files are kept in memory.
    """
    import importlib
    import os

    from ..chat.template import render_chat_template

    for name in PRELOADED_MODULES:
        importlib.import_module(name)
    # imports jinja2 and fills its caches: a fifth of a second, before the first answer
    message = {"role": "user", "content": "Hello"}
    template = "{% for message in messages %}{{ message['content'] | trim }}{% endfor %}"
    render_chat_template(template, [message], bos_token="", eos_token="")
    folder = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.endswith(".pyc"):
                path = os.path.join(parent, name)
                with open(path, "rb") as file:
                    _frozen_files[path] = file.read()
    # the path of the script that makes the snapshot
    os.environ.pop("_", None)


def resume_snapshot() -> None:
    """Bring back what a memory snapshot lacks: files, and chance.

    Python's own files wait until something is imported that was not yet: to write them all takes a
    hundredth of a second, and most answers need none.
    """
    _write_frozen_files([path for path in _frozen_files if not path.endswith(".py")])
    sys.meta_path.append(_FrozenFinder())
    random = sys.modules.get("random")
    if random is not None:
        # every page would draw the same numbers
        random.seed()


class _FrozenFinder:
    """Asked for a module that nobody found, it writes the files that are missing and asks again."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _frozen_files:
            return None
        _write_frozen_files(list(_frozen_files))
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, path, target)


def _write_frozen_files(paths: Iterable[str]) -> None:
    import os

    for path in paths:
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        # what Python knows of these folders is older than the files; to make it forget all
        # folders, as importlib can, would have it read the standard library's zip again: 130 ms
        sys.path_importer_cache.pop(folder, None)
        with open(path, "wb") as file:
            file.write(_frozen_files.pop(path))


_frozen_files: dict[str, bytes] = {}
