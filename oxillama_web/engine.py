"""The engine: loads a model, keeps one conversation's cache, and generates text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .architectures import read_model
from .config import EngineConfig, ModelConfig, SamplerConfig
from .errors import (
    ChatTemplateError,
    ContextLengthError,
    InvalidRequestError,
    ModelFormatError,
    ModelNotLoadedError,
    OutOfMemoryError,
    TokenizerError,
)
from .executors import create_executor
from .gguf import GGUFFile, map_file
from .offload import OffloadPolicy
from .sampling import Sampler
from .tokenizer import load_gguf_vocabulary, load_tokenizer_json

if TYPE_CHECKING:
    import mmap

    import numpy as np
    from numpy.typing import NDArray

    from .executors.base import Executor, KVCache
    from .tokenizer import StreamDecoder, Tokenizer

FinishReason = Literal["stop", "length", "context", "cancelled"]
Message = Mapping[str, Any]

DEFAULT_MAX_TOKENS = 256
_TOKENIZER_IN_GGUF = "tokenizer.huggingface.json"


class GenerationEvent:
    """One step of an answer.

    Attributes:
        phase: "prefill" while the prompt is read, then "decode".
        text: what this step adds to the answer; may be empty.
        token: the token that was chosen, None in prefill and in an answer's last event.
        n_done: prompt tokens read so far (prefill), or tokens generated so far (decode).
        n_total: tokens of the prompt that are not in the cache yet (prefill), or the most tokens
            that may be generated (decode).
        finish_reason: None, or in the last event "stop" (an end-of-generation token), "length"
            (max_tokens), "context" (the cache is full), "cancelled" (a callback asked to stop).
    """

    __slots__ = ("finish_reason", "n_done", "n_total", "phase", "text", "token")

    def __init__(
        self,
        phase: Literal["prefill", "decode"],
        text: str,
        token: int | None,
        n_done: int,
        n_total: int,
        finish_reason: FinishReason | None = None,
    ) -> None:
        self.phase = phase
        self.text = text
        self.token = token
        self.n_done = n_done
        self.n_total = n_total
        self.finish_reason = finish_reason


class InferenceEngine:
    """One model and one conversation. Not thread-safe.

    Every call that needs a model raises ModelNotLoadedError before one is loaded.
    """

    def __init__(self, config: EngineConfig | None = None) -> None:
        self._config = config if config is not None else EngineConfig()
        self._loaded: _LoadedModel | None = None

    # loading

    def load_model(self) -> None:
        """Loads `config.model_path`, mapped into memory or read whole as the offload policy says.

        The tokenizer comes from `config.tokenizer_path`, else from the GGUF file, else from a
        tokenizer.json beside it.

        Raises:
            ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
            OSError: a file cannot be read.
            OutOfMemoryError: it does not fit into memory.
        """
        if not self._config.model_path:
            raise InvalidRequestError("config.model_path is empty; set it, or load from bytes")
        model_path = Path(self._config.model_path)
        tokenizer_path = self._config.tokenizer_path
        tokenizer_json = None if tokenizer_path is None else Path(tokenizer_path).read_bytes()
        policy = self._config.offload_policy or OffloadPolicy.mmap()
        self._load(_open_model(model_path, policy), tokenizer_json, model_path.parent, consume=True)

    def load_model_from_bytes(
        self,
        model_bytes: bytes | bytearray | memoryview | mmap.mmap,
        tokenizer_json: str | bytes | None = None,
        *,
        consume: bool = False,
    ) -> None:
        """Loads a GGUF file that is in memory. A failed load leaves the engine as it was.

        Args:
            model_bytes: the whole file.
            tokenizer_json: a Hugging Face tokenizer.json; None uses the vocabulary in the file.
            consume: the engine may keep and overwrite `model_bytes` (if it is writable) instead
                of copying the weights; the caller must not use it again, whether loading succeeds
                or not.

        Raises:
            ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
            OutOfMemoryError: it does not fit into memory.
        """
        self._load(model_bytes, tokenizer_json, None, consume=consume)

    def close(self) -> None:
        """Frees the model; the engine can load another one."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.executor.close()

    # properties

    @property
    def config(self) -> EngineConfig:
        """What the engine was made with."""
        return self._config

    @property
    def is_loaded(self) -> bool:
        """Whether a model is loaded."""
        return self._loaded is not None

    @property
    def model_config(self) -> ModelConfig:
        """The sizes that the model file states."""
        return self._model.config

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._model.tokenizer

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return self._model.config.hidden_size

    @property
    def context_size(self) -> int:
        """Most tokens that the cache may hold."""
        return self._model.context_size

    @property
    def has_chat_template(self) -> bool:
        """Whether `chat` works: instruction-tuned models have a template, base models do not."""
        return bool(self._model.chat_template)

    @property
    def kv_cache_seq_len(self) -> int:
        """Tokens in the cache."""
        return self._model.cache.length

    @property
    def executor_name(self) -> str:
        """What runs the model, as "kernels-avx512" or "numpy"."""
        return self._model.executor.name

    @property
    def memory_bytes(self) -> int:
        """Bytes held for weights, work buffers and caches."""
        return self._model.executor.memory_bytes

    # tokens

    def tokenize(self, text: str, add_bos: bool | None = None) -> list[int]:
        """Token ids of a text; `add_bos` None follows the model's own setting."""
        return self._model.tokenizer.encode(text, add_bos=add_bos)

    def decode_token(self, token: int) -> str:
        """One token as text; bytes that are no whole character become U+FFFD."""
        return self._model.tokenizer.decode([self._model.checked_token(token)])

    def is_eos(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return token in self._model.tokenizer.eog_ids

    # forward passes

    def forward_prefill(self, tokens: Sequence[int], pos_start: int) -> NDArray[np.float32]:
        """Appends tokens to the cache, in chunks of `config.prefill_chunk_size`.

        Args:
            tokens: at least one token id.
            pos_start: the position of the first one, which must be `kv_cache_seq_len`.

        Returns:
            The last token's logits, float32 [vocabulary].

        Raises:
            InvalidRequestError: no tokens, or another position.
            ContextLengthError: they do not fit the context.
        """
        model = self._model
        if pos_start != model.cache.length:
            raise InvalidRequestError(
                f"pos_start is {pos_start}, but the cache holds {model.cache.length} tokens; "
                f"positions must follow on each other"
            )
        if not tokens:
            raise InvalidRequestError("a forward pass needs at least one token")
        for _ in model.prefill(list(tokens), self._config.prefill_chunk_size):
            pass
        return _to_numpy(model.logits)

    def forward_decode(self, token: int, pos: int) -> NDArray[np.float32]:
        """Appends one token at position `pos`; returns its logits, float32 [vocabulary]."""
        return self.forward_prefill([token], pos)

    def reset(self) -> None:
        """Forgets the conversation."""
        self._model.rewind(0)

    # generation

    def generate(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        callback: Callable[[str], object] | None = None,
        *,
        sampler: SamplerConfig | None = None,
    ) -> str:
        """Continues the conversation with `prompt` and returns the answer.

        Args:
            prompt: text, or token ids.
            max_tokens: most tokens to generate.
            callback: called with each piece of text; returning False stops the answer.
            sampler: overrides `config.sampler`.

        Raises:
            ContextLengthError: the prompt does not fit into what is left of the context.
            InvalidRequestError: the prompt is empty and so is the cache.
        """
        pieces: list[str] = []
        for piece in self.stream(prompt, max_tokens, sampler=sampler):
            pieces.append(piece)
            if callback is not None and callback(piece) is False:
                break
        return "".join(pieces)

    def stream(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        *,
        sampler: SamplerConfig | None = None,
    ) -> Iterator[str]:
        """As `generate`, piece by piece; a piece never ends inside a character.

        Leaving the loop early is safe: the next call continues from what was generated.
        """
        return _texts(self.events(prompt, max_tokens, sampler=sampler))

    def chat(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        *,
        sampler: SamplerConfig | None = None,
    ) -> Iterator[str]:
        """The answer to a conversation in the model's own chat template, piece by piece.

        Args:
            messages: as [{"role": "user", "content": "Hello"}, ...], the whole conversation. What
                the cache already holds of it is not computed again.

        Raises:
            ChatTemplateError: the model has no chat template, or it failed.
        """
        return _texts(self.chat_events(messages, max_tokens, sampler=sampler))

    def render_chat(self, messages: Sequence[Message]) -> str:
        """The conversation as the model's chat template writes it, ready for its answer."""
        from .chat_template import render_chat_template

        model = self._model
        if not model.chat_template:
            raise ChatTemplateError(
                f"the model {model.config.name!r} has no chat template; it may be a base model: "
                f"use generate() or stream() with a plain prompt"
            )
        return render_chat_template(
            model.chat_template,
            list(messages),
            bos_token=model.token_text(model.tokenizer.bos_id),
            eos_token=model.token_text(model.tokenizer.eos_id),
        )

    def events(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        *,
        sampler: SamplerConfig | None = None,
    ) -> Iterator[GenerationEvent]:
        """As `stream`, with progress and the reason why it ended. Arguments are checked now."""
        model = self._model
        if isinstance(prompt, str):
            starts_anew = not model.tokens and not model.pending
            prompt = model.tokenizer.encode(prompt, add_bos=None if starts_anew else False)
        tokens = model.pending + list(prompt)
        return self._start(tokens, max_tokens, sampler, continues_text=True)

    def chat_events(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        *,
        sampler: SamplerConfig | None = None,
    ) -> Iterator[GenerationEvent]:
        """As `chat`, with progress and the reason why it ended."""
        model = self._model
        text = self.render_chat(messages)
        bos = model.token_text(model.tokenizer.bos_id)
        # most templates write the BOS token themselves
        add_bos = False if bos and text.startswith(bos) else None
        tokens = model.tokenizer.encode(text, add_bos=add_bos)
        # at least one token is computed anew: its logits choose the first token of the answer
        model.rewind(max(min(_common_prefix(model.tokens, tokens), len(tokens) - 1), 0))
        new_tokens = tokens[model.cache.length :]
        return self._start(new_tokens, max_tokens, sampler, continues_text=False)

    def _start(
        self,
        tokens: list[int],
        max_tokens: int,
        sampler: SamplerConfig | None,
        *,
        continues_text: bool,
    ) -> Iterator[GenerationEvent]:
        if not tokens:
            raise InvalidRequestError("the prompt is empty; give at least one token")
        if max_tokens < 0:
            raise InvalidRequestError(f"max_tokens is {max_tokens}; it must be 0 or more")
        self._model.require_room(len(tokens))
        return self._generate(
            tokens,
            max_tokens,
            Sampler(sampler or self._config.sampler, self._model.executor),
            self._model.tokenizer.stream_decoder(continues_text=continues_text),
        )

    def _generate(
        self, tokens: list[int], max_tokens: int, sampler: Sampler, decoder: StreamDecoder
    ) -> Iterator[GenerationEvent]:
        model = self._model
        model.pending = []
        for n_done in model.prefill(tokens, self._config.prefill_chunk_size):
            yield GenerationEvent("prefill", "", None, n_done, len(tokens))
        finish_reason: FinishReason = "length"
        n_generated = 0
        while n_generated < max_tokens:
            token = sampler.sample(model.logits, model.tokens)
            model.pending = [token]
            if token in model.tokenizer.eog_ids:
                finish_reason = "stop"
                break
            n_generated += 1
            yield GenerationEvent("decode", decoder.push(token), token, n_generated, max_tokens)
            if n_generated == max_tokens:
                break
            if model.cache.length >= model.context_size:
                finish_reason = "context"
                break
            model.forward([token])
            model.pending = []
        yield GenerationEvent(
            "decode", decoder.finish(), None, n_generated, max_tokens, finish_reason
        )

    def _load(
        self,
        data: bytes | bytearray | memoryview | mmap.mmap,
        tokenizer_json: str | bytes | None,
        folder: Path | None,
        *,
        consume: bool,
    ) -> None:
        gguf = GGUFFile(data)
        config, plan = read_model(gguf)
        tokenizer = _load_tokenizer(gguf, tokenizer_json, folder)
        if tokenizer.n_vocab > config.vocab_size:
            raise ModelFormatError(
                f"the tokenizer knows {tokenizer.n_vocab} tokens and the model only "
                f"{config.vocab_size}; they do not belong together"
            )
        executor = create_executor(plan, gguf, self._config, consume=consume)
        self.close()
        context_size = self._config.context_size or config.context_length
        self._loaded = _LoadedModel(gguf, config, tokenizer, executor, context_size)

    @property
    def _model(self) -> _LoadedModel:
        if self._loaded is None:
            raise ModelNotLoadedError(
                "no model is loaded; call load_model() or load_model_from_bytes() first"
            )
        return self._loaded


class _LoadedModel:
    """A model, the tokens that its cache holds, and the last one's logits.

    `pending` are tokens that were generated but not yet run through the model.
    """

    def __init__(
        self,
        gguf: GGUFFile,
        config: ModelConfig,
        tokenizer: Tokenizer,
        executor: Executor,
        context_size: int,
    ) -> None:
        self.chat_template = gguf.get_str("tokenizer.chat_template", "")
        self.config = config
        self.tokenizer = tokenizer
        self.executor = executor
        self.context_size = context_size
        self.cache: KVCache = executor.new_cache()
        self.tokens: list[int] = []
        self.pending: list[int] = []
        self.logits: memoryview[float] = memoryview(b"").cast("B").cast("f")

    def forward(self, tokens: list[int]) -> None:
        self.logits = self.executor.forward(self.cache, tokens, "last")
        self.tokens.extend(tokens)

    def prefill(self, tokens: list[int], chunk_size: int) -> Iterator[int]:
        """Runs a prompt chunk by chunk; yields how many of its tokens are done."""
        self.require_room(len(tokens))
        for token in tokens:
            self.checked_token(token)
        step = chunk_size or max(len(tokens), 1)
        for start in range(0, len(tokens), step):
            chunk = tokens[start : start + step]
            self.forward(chunk)
            yield start + len(chunk)

    def rewind(self, length: int) -> None:
        self.cache.truncate(length)
        del self.tokens[length:]
        self.pending = []

    def require_room(self, n_tokens: int) -> None:
        used = self.cache.length
        if used + n_tokens > self.context_size:
            raise ContextLengthError(
                f"the prompt has {n_tokens} tokens and the cache holds {used}, but the context "
                f"takes {self.context_size}; shorten the prompt, call reset(), or load with a "
                f"larger context_size"
            )

    def checked_token(self, token: int) -> int:
        if not 0 <= token < self.config.vocab_size:
            raise InvalidRequestError(
                f"token {token} is outside of the vocabulary, 0 to {self.config.vocab_size - 1}"
            )
        return token

    def token_text(self, token: int | None) -> str:
        if token is None:
            return ""
        return self.tokenizer.token_bytes(token).decode("utf-8", "replace")


def _texts(events: Iterator[GenerationEvent]) -> Iterator[str]:
    for event in events:
        if event.text:
            yield event.text


def _open_model(path: Path, policy: OffloadPolicy) -> bytearray | mmap.mmap:
    import mmap

    with path.open("rb") as file:
        if policy.kind == "none":
            data = bytearray(path.stat().st_size)
            file.readinto(data)
            return data
        try:
            # copy on write: interleaving the weights never reaches the file
            return map_file(file, mmap.ACCESS_COPY)
        except OSError as error:
            raise OutOfMemoryError(f"cannot map {path} into memory: {error}") from error


def _load_tokenizer(
    gguf: GGUFFile, tokenizer_json: str | bytes | None, folder: Path | None
) -> Tokenizer:
    if tokenizer_json is None and _TOKENIZER_IN_GGUF in gguf.metadata:
        tokenizer_json = gguf.get_str(_TOKENIZER_IN_GGUF)
    if tokenizer_json is None and "tokenizer.ggml.model" in gguf.metadata:
        return load_gguf_vocabulary(gguf.metadata)
    if tokenizer_json is None and folder is not None and (folder / "tokenizer.json").is_file():
        tokenizer_json = (folder / "tokenizer.json").read_bytes()
    if tokenizer_json is not None:
        bos, eos = (
            _optional_id(gguf, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")
        )
        return load_tokenizer_json(tokenizer_json, bos, eos)
    raise TokenizerError("the model file holds no vocabulary; give a tokenizer.json with the model")


def _optional_id(gguf: GGUFFile, key: str) -> int | None:
    return gguf.get_int(key) if key in gguf.metadata else None


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))


def _to_numpy(logits: memoryview[float]) -> NDArray[np.float32]:
    import numpy as np

    return np.array(logits, dtype=np.float32)
