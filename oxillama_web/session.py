"""One conversation: its cache, its tokens, and what is generated from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import ChatTemplateError, ContextLengthError, InvalidRequestError
from .generation import GenerationEvent, generate_events, texts
from .sampling import Sampler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .executors.base import KVCache
    from .loading import LoadedModel
    from .sampling import SamplerConfig

Message = Mapping[str, Any]

DEFAULT_MAX_TOKENS = 256


class Session:
    """A conversation with a loaded model. Not thread-safe, like the model itself.

    Attributes:
        model: the model, which other sessions may share.
        tokens: the tokens that the cache holds.
        pending: tokens that were generated but not yet run through the model.
        logits: float32 [vocabulary] of the last token; empty before the first one.
    """

    def __init__(self, model: LoadedModel, sampler: SamplerConfig) -> None:
        """An empty conversation; `sampler` is the default of its answers."""
        self.model = model
        self.tokens: list[int] = []
        self.pending: list[int] = []
        self.logits: memoryview[float] = memoryview(b"").cast("B").cast("f")
        self._cache: KVCache = model.executor.new_cache()
        self._sampler = sampler
        model.sessions.add(self)

    @property
    def kv_cache_seq_len(self) -> int:
        """Tokens in the cache."""
        return self._cache.length

    # forward passes

    def forward_prefill(self, tokens: Sequence[int], pos_start: int) -> NDArray[np.float32]:
        """Appends tokens to the cache, in chunks of the model's `prefill_chunk_size`.

        Args:
            tokens: at least one token id.
            pos_start: the position of the first one, which must be `kv_cache_seq_len`.

        Returns:
            The last token's logits, float32 [vocabulary].

        Raises:
            InvalidRequestError: no tokens, or another position.
            ContextLengthError: they do not fit the context.
        """
        if pos_start != self._cache.length:
            raise InvalidRequestError(
                f"pos_start is {pos_start}, but the cache holds {self._cache.length} tokens; "
                f"positions must follow on each other"
            )
        if not tokens:
            raise InvalidRequestError("a forward pass needs at least one token")
        for _ in self.read(list(tokens)):
            pass
        return _to_numpy(self.logits)

    def forward_decode(self, token: int, pos: int) -> NDArray[np.float32]:
        """Appends one token at position `pos`; returns its logits, float32 [vocabulary]."""
        return self.forward_prefill([token], pos)

    def reset(self) -> None:
        """Forgets the conversation."""
        self.rewind(0)

    def rewind(self, length: int) -> None:
        """Forgets all tokens from position `length` on."""
        self._cache.truncate(length)
        del self.tokens[length:]
        self.pending = []

    def forward(self, tokens: list[int]) -> None:
        """Appends tokens that are known to be right; afterwards `logits` are the last one's."""
        self.logits = self.model.executor.forward(self._cache, tokens, "last")
        self.tokens.extend(tokens)

    def read(self, tokens: list[int]) -> Iterator[int]:
        """Runs a prompt chunk by chunk; yields how many of its tokens are done."""
        self._require_room(len(tokens))
        for token in tokens:
            self.model.checked_token(token)
        step = self.model.prefill_chunk_size or max(len(tokens), 1)
        for start in range(0, len(tokens), step):
            chunk = tokens[start : start + step]
            self.forward(chunk)
            yield start + len(chunk)

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
            sampler: overrides the session's default.

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
        return texts(self.events(prompt, max_tokens, sampler=sampler))

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
        return texts(self.chat_events(messages, max_tokens, sampler=sampler))

    def render_chat(self, messages: Sequence[Message]) -> str:
        """The conversation as the model's chat template writes it, ready for its answer."""
        from .chat_template import render_chat_template

        model = self.model
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
        if isinstance(prompt, str):
            starts_anew = not self.tokens and not self.pending
            prompt = self.model.tokenizer.encode(prompt, add_bos=None if starts_anew else False)
        tokens = self.pending + list(prompt)
        return self._start(tokens, max_tokens, sampler, continues_text=True)

    def chat_events(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        *,
        sampler: SamplerConfig | None = None,
    ) -> Iterator[GenerationEvent]:
        """As `chat`, with progress and the reason why it ended."""
        model = self.model
        text = self.render_chat(messages)
        bos = model.token_text(model.tokenizer.bos_id)
        # most templates write the BOS token themselves
        add_bos = False if bos and text.startswith(bos) else None
        tokens = model.tokenizer.encode(text, add_bos=add_bos)
        # at least one token is computed anew: its logits choose the first token of the answer
        self.rewind(max(min(_common_prefix(self.tokens, tokens), len(tokens) - 1), 0))
        new_tokens = tokens[self._cache.length :]
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
        self._require_room(len(tokens))
        return generate_events(
            self,
            tokens,
            max_tokens,
            Sampler(sampler or self._sampler, self.model.executor, self.model.token_text),
            self.model.tokenizer.stream_decoder(continues_text=continues_text),
        )

    def _require_room(self, n_tokens: int) -> None:
        used, room = self._cache.length, self.model.context_size
        if used + n_tokens > room:
            raise ContextLengthError(
                f"the prompt has {n_tokens} tokens and the cache holds {used}, but the context "
                f"takes {room}; shorten the prompt, call reset(), or load with a larger "
                f"context_size"
            )


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))


def _to_numpy(logits: memoryview[float]) -> NDArray[np.float32]:
    import numpy as np

    return np.array(logits, dtype=np.float32)
