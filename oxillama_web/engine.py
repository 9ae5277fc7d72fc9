"""The engine: loads a model, and holds a conversation with it."""

from __future__ import annotations

import os
import warnings
from _thread import RLock
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from .backends.forking import renew_after_fork
from .backends.offload import LayerPager, OffloadPolicy
from .config import EngineConfig, ModelConfig
from .errors import InvalidRequestError, OxiLlamaError
from .gguf.files import read_text_file
from .gguf.source import MemorySource
from .inference.conversation import Conversation, ConversationMethods
from .inference.loading import load_model, open_file
from .inference.metrics import Metrics, MetricsSnapshot
from .inference.prefix_cache import PrefixCache
from .inference.sequence import TokenSequence
from .inference.whole_texts import WholeTextMethods
from .validation import any_integer, any_text, boolean, buffer, instance, optional

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .gguf.reader import Buffer
    from .gguf.source import ModelSource
    from .inference.model import LoadedModel
    from .plan.lora import AppliedLora, LoraAdapter
    from .tokenizer import Tokenizer

_CONFIG = instance(EngineConfig, "an EngineConfig, or the path of a GGUF file")
_PAGER = instance(LayerPager, "a LayerPager")
_JSON = instance((str, bytes), "the text of a tokenizer.json")


class InferenceEngine(ConversationMethods, WholeTextMethods):
    """One model, and a conversation with it; any number of threads may use it.

    with InferenceEngine("model.gguf") as engine:
        print(engine.generate("Once upon a time", max_tokens=50))

    Without a model, calls that need one raise ModelNotLoadedError. So it is before the first load,
    if that fails, and after `close`. What the engine itself has, such as its LoRA adapters, works
    without a model too.
    """

    def __init__(self, config: EngineConfig | str | os.PathLike[str] | None = None) -> None:
        """Make an engine.

        Args:
            config: how to load and run a model; `load_model` loads it. Or the path of a GGUF file,
                which is loaded now, with the default settings.

        Raises:
            InvalidRequestError: it is neither.
            OxiLlamaError, OSError: as `load_model`.
        """
        self._lock = RLock()  # held to exchange the model, or its adapters or pager
        if is_path := isinstance(config, (str, os.PathLike)):
            config = EngineConfig(model_path=os.fspath(config))
        self._config = EngineConfig() if config is None else _CONFIG("config", config)
        self._current: TokenSequence | None = None
        # those of all conversations with the model
        self._sequences: WeakSet[TokenSequence] = WeakSet()
        self._metrics = Metrics()
        self._prefix_cache = PrefixCache(self._config.prefix_cache_bytes)
        self._next_pager: LayerPager | None = None
        self._lora_stack: tuple[AppliedLora, ...] = ()
        renew_after_fork(self)
        if is_path:
            self.load_model()

    def __enter__(self) -> Self:
        """Load `config.model_path`, unless a model is loaded or none is named."""
        if self._config.model_path and not self.is_loaded:
            self.load_model()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Free the model."""
        self.close()

    def __repr__(self) -> str:
        sequence = self._current
        if sequence is None:
            return "<InferenceEngine without a model>"
        config = sequence.model.config
        name = f"{config.name} ({config.architecture})" if config.name else config.architecture
        return (
            f"<InferenceEngine: {name}, {sequence.model.executor.name}, "
            f"{sequence.n_tokens} of {sequence.model.context_size} tokens>"
        )

    def renew_after_fork(self) -> None:
        """See `forking`."""
        self._lock = RLock()

    # loading

    def load_model(self) -> None:
        """Load `config.model_path`, held in memory as `config.offload_policy` says.

        If the model is in several files, the path is that of the first (...-00001-of-00003.gguf);
        they are always read whole.

        The tokenizer comes from `config.tokenizer_path`, else from `tokenizer.huggingface.json` in
        the GGUF file, else from the file's own vocabulary, else from a tokenizer.json beside it. A
        failed load leaves the engine as it was.

        Adapters that were pushed before are applied. If they do not fit, the error says so, and
        the model is loaded without them.

        Raises:
            ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
            OSError: a file cannot be read; the message has its path.
            OutOfMemoryError: it does not fit into memory.
        """
        if not self._config.model_path:
            raise InvalidRequestError("config.model_path is empty; set it, or load from bytes")
        model_path = Path(self._config.model_path)
        tokenizer_path = self._config.tokenizer_path
        tokenizer_json = None if tokenizer_path is None else read_text_file(Path(tokenizer_path))
        pager = self._new_pager()
        policy = pager.policy if pager else self._config.offload_policy or OffloadPolicy.mmap()
        self._load(open_file(model_path, policy), tokenizer_json, pager)

    def load_model_from_bytes(
        self,
        model_bytes: Buffer,
        tokenizer_json: str | bytes | None = None,
        *,
        consume: bool = False,
    ) -> None:
        """Load a GGUF file that is in memory, as `load_model` does.

        Args:
            model_bytes: the whole file.
            tokenizer_json: a Hugging Face tokenizer.json; None uses the vocabulary in the file.
            consume: the engine may keep `model_bytes` and, if it is writable, overwrite it instead
                of copying the weights. The caller must not use it again, whether the load succeeds
                or not.

        Raises:
            ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
            OutOfMemoryError: it does not fit into memory.
        """
        optional(_JSON)("tokenizer_json", tokenizer_json)
        boolean("consume", consume)
        source = MemorySource(buffer("model_bytes", model_bytes), consume=consume)
        self._load(source, tokenizer_json, self._new_pager())

    def use_model(self, model: LoadedModel) -> None:
        """Replace the current model by one that `inference.loading` has loaded."""
        keep = self._config.context_keep
        if self._config.context_full == "shift" and keep + 2 > model.context_size:
            raise InvalidRequestError(
                f"context_keep is {keep}, but the context takes {model.context_size} tokens; keep "
                f"fewer"
            )
        sequences: WeakSet[TokenSequence] = WeakSet()
        sequence = TokenSequence(model, self._config, sequences)
        model.metrics = self._metrics
        with self._lock:
            stack, error = self._lora_stack, None
            try:
                if stack:
                    model.use_loras(stack)
            except OxiLlamaError as cause:
                self._lora_stack, error = (), cause
            before, self._current, self._sequences = self._current, sequence, sequences
            self._prefix_cache.clear()
            if before is not None:
                before.model.close()
            self._metrics.memory(model.executor.memory_bytes)
        if error is not None:
            raise type(error)(f"{error}; the model is loaded without adapters") from error

    def close(self) -> None:
        """Free the model; the engine can load another one.

        A forward pass that another thread is in ends first. Answers that are under way end with a
        ModelNotLoadedError at their next step.
        """
        with self._lock:
            sequence, self._current = self._current, None
            self._prefix_cache.clear()
            if sequence is not None:
                sequence.model.close()
                self._metrics.memory(0)

    # properties

    @property
    def config(self) -> EngineConfig:
        """What the engine was made with."""
        return self._config

    @property
    def is_loaded(self) -> bool:
        """Whether a model is loaded."""
        return self._current is not None

    @property
    def model_config(self) -> ModelConfig | None:
        """The sizes in the model's metadata; None without a model."""
        model = self._present
        return None if model is None else model.config

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._model.tokenizer

    @property
    def hidden_size(self) -> int | None:
        """The width of the residual stream; None without a model."""
        model = self._present
        return None if model is None else model.config.hidden_size

    @property
    def context_size(self) -> int:
        """The largest number of tokens that the cache may hold."""
        return self._model.context_size

    @property
    def has_chat_template(self) -> bool:
        """Whether `chat` works: base models have no template."""
        return bool(self._model.chat_template)

    @property
    def is_encoder(self) -> bool:
        """Whether the model gives vectors (`embed`) and no text."""
        return self._model.plan.is_encoder

    @property
    def is_reranker(self) -> bool:
        """Whether the model scores documents (`rerank`) and writes no text."""
        return self._model.plan.is_reranker

    @property
    def executor_name(self) -> str:
        """What runs the model, such as "kernels-avx512" or "numpy"."""
        return self._model.executor.name

    @property
    def memory_bytes(self) -> int:
        """Bytes held for weights, work buffers and caches."""
        return self._model.executor.memory_bytes

    @property
    def layer_pager(self) -> LayerPager | None:
        """Holds the weights of a model with a memory budget; None for others, and without one."""
        model = self._present
        return None if model is None else model.pager

    def set_layer_pager(self, pager: LayerPager) -> None:
        """Hold the weights by the policy of a pager, `LayerPager(OffloadPolicy.budget(...))`.

        If a model with a budget is loaded, the pager takes effect now, and every conversation
        begins anew. Without a model, the next one is loaded with it.

        Raises:
            InvalidRequestError: the model was loaded without a budget.
            OutOfMemoryError: the budget is too small for the model; nothing has changed.
        """
        _PAGER("pager", pager)
        with self._lock:
            model = self._present
            if model is None:
                self._next_pager = pager
                return
            with model.lock:
                model.use_pager(pager)
                for sequence in self._sequences:
                    sequence.claim()
                    sequence.restart()

    @property
    def prefix_cache(self) -> PrefixCache:
        """Keeps caches of requests that are over (`EngineConfig.prefix_cache_bytes`)."""
        return self._prefix_cache

    @property
    def metrics(self) -> Metrics:
        """The counters of all of the engine's conversations."""
        return self._metrics

    def metrics_snapshot(self) -> MetricsSnapshot:
        """Return the totals so far; `to_prometheus()` formats them."""
        model = self._present
        if model is not None:
            self._metrics.memory(model.executor.memory_bytes)
        return self._metrics.snapshot()

    # tokens

    def tokenize(self, text: str, add_bos: bool | None = None) -> list[int]:
        """Return the token ids of a text; `add_bos` None follows the model's own setting."""
        tokenizer = self._model.tokenizer
        return tokenizer.encode(any_text("text", text), optional(boolean)("add_bos", add_bos))

    def decode_token(self, token: int) -> str:
        """Return one token as text; bytes that are no whole character become U+FFFD."""
        token = any_integer("token", token)
        model = self._model
        return model.tokenizer.decode([model.checked_token(token)])

    def is_eos(self, token: int) -> bool:
        """Return whether the token ends an answer; False without a model."""
        token = any_integer("token", token)
        model = self._present
        return model is not None and token in model.tokenizer.eog_ids

    def vocab_bytes(self) -> list[tuple[int, bytes]] | None:
        """Return each id of the vocabulary with its bytes, ascending; None without a model."""
        model = self._present
        return None if model is None else list(enumerate(model.tokenizer.vocab_bytes()))

    # LoRA adapters

    @property
    def lora_stack(self) -> tuple[AppliedLora, ...]:
        """The adapters in the order in which they were pushed.

        They are applied to the model, and to each one that is loaded later.
        """
        return self._lora_stack

    def push_lora(self, adapter: LoraAdapter | str | Path, scale: float = 1.0) -> None:
        """Apply one more adapter. If several change the same weight, the changes add up.

        The model is not loaded again, and its own weights stay as they are. Every conversation
        begins anew, because its cache was computed without the adapter. Without a model, the next
        one is loaded with it.

        Args:
            adapter: a LoraAdapter, or a file in llama.cpp's format.
            scale: 1 applies it as it was trained, 0.5 half as strongly.

        Raises:
            ModelFormatError, UnsupportedModelError: it does not fit the model; nothing has changed.
        """
        from .plan.lora import open_adapters

        opened = open_adapters([(adapter, scale)])
        with self._lock:
            self._use_loras([*self._lora_stack, *opened])

    def apply_lora_adapters(
        self, adapters: Sequence[tuple[LoraAdapter | str | Path, float]]
    ) -> None:
        """Apply several more adapters, each with its scale: as `push_lora`, all or none."""
        from .plan.lora import open_adapters

        if adapters:
            _ = self._model  # without one, no file is opened
        opened = open_adapters(adapters)
        if opened:
            with self._lock:
                self._use_loras([*self._lora_stack, *opened])

    def apply_lora_stack(self, stack: Sequence[AppliedLora]) -> None:
        """Apply exactly these adapters, such as an earlier `lora_stack`."""
        from .plan.lora import checked_stack

        if checked_stack("stack", stack):
            _ = self._model  # there must be one
        if self.is_loaded:
            self._use_loras(stack)

    def pop_lora(self) -> AppliedLora | None:
        """Remove the adapter that was pushed last; return it with its scale, or None."""
        with self._lock:
            stack = self._lora_stack
            if not stack:
                return None
            self._use_loras(stack[:-1])
            return stack[-1]

    def clear_loras(self) -> None:
        """Remove all adapters: the model computes the same bits as before the first one."""
        self._use_loras(())

    def _use_loras(self, stack: Sequence[AppliedLora]) -> None:
        with self._lock:
            if not stack and not self._lora_stack:
                return
            model = self._present
            if model is not None:
                with model.lock:
                    model.use_loras(stack)
                    for sequence in self._sequences:
                        sequence.claim()
                        sequence.truncate(0)
            self._lora_stack = tuple(stack)

    # conversations

    def conversation(self) -> Conversation:
        """Begin another conversation with the same model, with a cache of its own."""
        with self._lock:
            model = self._model
            with model.lock:
                return Conversation(
                    TokenSequence(model, self._config, self._sequences), self._config
                )

    def session(self) -> Conversation:
        """Deprecated: call `conversation`."""
        warnings.warn("session() is now called conversation()", DeprecationWarning, stacklevel=2)
        return self.conversation()

    @property
    def _present(self) -> LoadedModel | None:
        sequence = self._current
        return None if sequence is None else sequence.model

    @property
    def _model(self) -> LoadedModel:
        return self._sequence.model

    def _load(
        self, source: ModelSource, tokenizer_json: str | bytes | None, pager: LayerPager | None
    ) -> None:
        self.use_model(load_model(source, self._config, tokenizer_json, pager=pager))

    def _new_pager(self) -> LayerPager | None:
        policy = self._config.offload_policy
        if self._next_pager is None and policy is not None and policy.has_budget:
            return LayerPager(policy)
        return self._next_pager
