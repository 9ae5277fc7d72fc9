"""One conversation: its cache, its tokens, and what is generated from them."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ChatTemplateError, ContextLengthError, InvalidRequestError
from .generation import Generation, GenerationEvent, texts

if TYPE_CHECKING:
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from ..backends.api import KVCache
    from ..config import EngineConfig
    from ..sampling import SamplerConfig
    from .generation import ChatOptions, GenerationOptions
    from .model import LoadedModel
    from .snapshots import KVSnapshot
    from .speculation import Drafter

Message = Mapping[str, Any]

DEFAULT_MAX_TOKENS = 256
# Tokens of a prompt's first chunk, where the time that a chunk takes is limited.
FIRST_CHUNK = 32
# Tokens; computing fewer is no dearer than copying a page of the cache.
_WORTH_SHARING = 16


class Conversation:
    """A conversation with a loaded model. Not thread-safe, like the model itself.

    Attributes:
        model: the model, which other conversations may share.
        tokens: the tokens that the cache holds.
        pending: tokens that were generated but not yet run through the model.
    """

    def __init__(self, model: LoadedModel, config: EngineConfig) -> None:
        """An empty conversation; `config` has the defaults of its answers."""
        self.model = model
        self.tokens: list[int] = []
        self.pending: list[int] = []
        self._config = config
        self._cache: KVCache = model.executor.new_cache()
        # logits of the last forward pass, and which row is the last token's
        self._rows: memoryview[float] = memoryview(b"").cast("B").cast("f")
        self._n_rows, self._row = 1, 0
        # tokens that were guessed: they are in the cache behind `tokens`
        self._drafted: list[int] = []
        # tokens that the context was too full for, and how many are kept that stood before them
        self._forgotten: list[int] = []
        self._n_kept = config.context_keep
        model.conversations.add(self)

    @property
    def kv_cache_seq_len(self) -> int:
        """Tokens in the cache."""
        return len(self.tokens)

    @property
    def logits(self) -> memoryview[float]:
        """Float32 [vocabulary] of the last token; empty before the first one."""
        width = len(self._rows) // self._n_rows
        return self._rows[self._row * width : (self._row + 1) * width]

    # forward passes

    def prefill(self, tokens: Sequence[int]) -> None:
        """Appends tokens to the cache: as `forward_prefill` behind what it holds."""
        self._append(tokens)

    def forward_prefill(self, tokens: Sequence[int], pos_start: int) -> NDArray[np.float32]:
        """Appends tokens to the cache, in chunks of the model's `prefill_chunk_size`.

        Args:
            tokens: at least one token id.
            pos_start: the position of the first one, which must be `kv_cache_seq_len`.

        Returns:
            The last token's logits, float32 [vocabulary].

        Raises:
            InvalidRequestError: no tokens, another position, or a token that does not exist.
            ContextLengthError: they do not fit the context.
        """
        if pos_start != len(self.tokens):
            raise InvalidRequestError(
                f"pos_start is {pos_start}, but the cache holds {len(self.tokens)} tokens; "
                f"positions must follow on each other"
            )
        self._append(tokens)
        return _to_numpy(self.logits)

    def forward_decode(self, token: int, pos: int) -> NDArray[np.float32]:
        """Appends one token at position `pos`; returns its logits, float32 [vocabulary]."""
        return self.forward_prefill([token], pos)

    def forward_one(self, token: int) -> NDArray[np.float32]:
        """Appends one token behind what the cache holds; returns its logits."""
        return self.forward_prefill([token], len(self.tokens))

    def truncate(self, length: int) -> None:
        """Forgets all tokens from position `length` on.

        Raises:
            InvalidRequestError: the cache holds fewer tokens.
        """
        if not 0 <= length <= len(self.tokens):
            raise InvalidRequestError(
                f"cannot cut a cache of {len(self.tokens)} tokens to {length}"
            )
        self._cache.truncate(length)
        del self.tokens[length:]
        self.pending, self._drafted = [], []
        if length <= self._n_kept:
            self._remember_all()

    def restart(self) -> None:
        """Forgets the conversation, and takes a cache of the model's new executor."""
        self._cache = self.model.executor.new_cache()
        self.tokens, self.pending, self._drafted = [], [], []
        self._remember_all()

    def reset(self) -> None:
        """Forgets the conversation."""
        self.truncate(0)

    def read(self, tokens: list[int]) -> Iterator[int]:
        """Runs a prompt chunk by chunk; yields how many of its tokens are done.

        Stopping between two chunks leaves the cache with those that are done.
        """
        self.model.require_logits()
        for token in tokens:
            self.model.checked_token(token)
        most, seconds = self.model.prefill_chunk_size or len(tokens), self.model.prefill_seconds
        step, n_done = min(most, FIRST_CHUNK) if seconds else most, 0
        while n_done < len(tokens):
            chunk = tokens[n_done : n_done + step]
            started = time.perf_counter()
            self._forget_draft()
            self._run(chunk)
            self.tokens.extend(chunk)
            n_done += len(chunk)
            if 2 * (time.perf_counter() - started) < seconds:
                step = min(2 * step, most)
            yield n_done

    def advance(self, token: int, drafter: Drafter | None = None, n_draft: int = 0) -> None:
        """Appends one token; afterwards `logits` are its own.

        Args:
            token: is known to be right, and to fit the context.
            drafter: guesses what follows, which is computed in the same pass.
            n_draft: the most that it may guess.
        """
        if self._drafted and self._drafted[0] == token:
            del self._drafted[0]
            self._row += 1
            self.model.metrics.speculation(0, 1)
        else:
            self._forget_draft()
            n_draft = min(n_draft, self.model.context_size - len(self.tokens) - 1)
            draft = drafter.propose([*self.tokens, token], n_draft) if drafter else []
            self._run([token, *draft], all_rows=bool(draft))
            self._drafted = draft
            self.model.metrics.speculation(len(draft), 0)
        self.tokens.append(token)

    def make_room(self) -> bool:
        """Whether one more token fits; if not, the oldest are forgotten where that is chosen."""
        if len(self.tokens) < self.model.context_size:
            return True
        if self._config.context_full == "stop":
            return False
        pending = self.pending
        for _ in self.read(self._forget_oldest([])):
            pass
        self.pending = pending
        return True

    def reuse(self, tokens: Sequence[int]) -> None:
        """Keeps what the cache has of the beginning of `tokens`, but not all of them.

        What another conversation of the model has more of is shared, but for what it computed from
        tokens that are forgotten. At least one token is left to compute: its logits choose what
        follows.
        """
        most = max(len(tokens) - 1, 0)
        own = min(_common_prefix(self.tokens, tokens), most)
        for other in self.model.conversations:
            shared = other.tokens[: other._n_kept if other._forgotten else None]
            length = min(_common_prefix(shared, tokens), most)
            if length >= own + _WORTH_SHARING:
                self._cache, own = other._cache.fork(length), length
                self.tokens = other.tokens[:length]
        self.truncate(own)

    def keep_logits(self) -> None:
        """Copies the logits, before another conversation's forward pass overwrites them."""
        self._rows = memoryview(bytearray(self._rows.cast("B"))).cast("f")

    # generation

    def generate(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        callback: Callable[[str], object] | None = None,
        **options: Unpack[GenerationOptions],
    ) -> str:
        """Continues the conversation with `prompt` and returns the answer.

        Args:
            prompt: text, or token ids.
            max_tokens: most tokens to generate.
            callback: called with each piece of text; returning False stops the answer.
            options: see GenerationOptions.

        Raises:
            ContextLengthError: the prompt does not fit into what is left of the context.
            InvalidRequestError: the prompt is empty and so is the cache, or an option is wrong.
        """
        pieces: list[str] = []
        for piece in self.stream(prompt, max_tokens, **options):
            pieces.append(piece)
            if callback is not None and callback(piece) is False:
                break
        return "".join(pieces)

    def generate_with_config(
        self,
        prompt: str | Sequence[int],
        max_tokens: int,
        sampler_config: SamplerConfig,
        callback: Callable[[str], object] | None = None,
    ) -> str:
        """As `generate`, with a sampler for this answer."""
        return self.generate(prompt, max_tokens, callback, sampler=sampler_config)

    def stream(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[GenerationOptions],
    ) -> Iterator[str]:
        """As `generate`, piece by piece; a piece never ends inside a character.

        Leaving the loop early is safe: the next call continues from what was generated.
        """
        return texts(self.events(prompt, max_tokens, **options))

    def chat(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[ChatOptions],
    ) -> Iterator[str]:
        """The answer to a conversation in the model's own chat template, piece by piece.

        Args:
            messages: as [{"role": "user", "content": "Hello"}, ...], the whole conversation. What
                the cache already holds of it is not computed again.
            max_tokens: as in `generate`.
            options: see `ChatOptions`.

        Raises:
            ChatTemplateError: the model has no chat template, or it failed.
        """
        return texts(self.chat_events(messages, max_tokens, **options))

    def render_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The conversation as the model's chat template writes it, ready for its answer."""
        from ..chat.template import render_chat_template

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
            tools=tools,
            **variables,
        )

    def tokenize_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> list[int]:
        """Token ids of `render_chat`."""
        text = self.render_chat(messages, tools, **variables)
        bos = self.model.token_text(self.model.tokenizer.bos_id)
        # most templates write the BOS token themselves
        add_bos = False if bos and text.startswith(bos) else None
        return self.model.tokenizer.encode(text, add_bos=add_bos)

    def events(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[GenerationOptions],
    ) -> Iterator[GenerationEvent]:
        """As `stream`, with progress and the reason why it ended. Arguments are checked now."""
        if isinstance(prompt, str):
            starts_anew = not self.tokens and not self.pending
            prompt = self.model.tokenizer.encode(prompt, add_bos=None if starts_anew else False)
        tokens = self.pending + list(prompt)
        return self._start(tokens, max_tokens, 0, True, options)

    def chat_events(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[ChatOptions],
    ) -> Iterator[GenerationEvent]:
        """As `chat`, with progress and the reason why it ended."""
        tools, variables = options.pop("tools", None), options.pop("variables", {})
        tokens = self._without_forgotten(self.tokenize_chat(messages, tools, **variables))
        self.reuse(tokens)
        n_cached = len(self.tokens)
        return self._start(tokens[n_cached:], max_tokens, n_cached, False, options)

    def _start(
        self,
        tokens: list[int],
        max_tokens: int,
        n_cached: int,
        continues_text: bool,
        options: GenerationOptions,
    ) -> Iterator[GenerationEvent]:
        self.model.require_logits()
        if not tokens:
            raise InvalidRequestError("the prompt is empty; give at least one token")
        if self._config.context_full == "shift" and not self._has_room(len(tokens)):
            tokens = self._forget_oldest(tokens)
        self._require_room(len(tokens))
        decoder = self.model.tokenizer.stream_decoder(continues_text=continues_text)
        generation = Generation(
            self, tokens, max_tokens, decoder, n_cached, self._config, **options
        )
        return generation.events()

    # the cache

    def fork(self) -> Conversation:
        """A conversation that goes on from here by itself; what both have is held once."""
        self._forget_draft()
        other = Conversation(self.model, self._config)
        other._cache = self._cache.fork(len(self.tokens))
        other.tokens, other.pending = self.tokens.copy(), self.pending.copy()
        other._forgotten, other._n_kept = self._forgotten.copy(), self._n_kept
        other._rows = memoryview(bytearray(self.logits.cast("B"))).cast("f")
        return other

    def kv_snapshot(self) -> KVSnapshot:
        """The conversation as data; `to_bytes()` makes a file of it."""
        from .snapshots import KVSnapshot, fingerprint

        self._forget_draft()
        return KVSnapshot(
            model=self.model.config.name,
            fingerprint=fingerprint(self.model),
            layout=self._cache.layout,
            tokens=tuple(self.tokens),
            pending=tuple(self.pending),
            data=self._cache.export(),
            forgotten=tuple(self._forgotten),
            n_kept=self._n_kept if self._forgotten else 0,
        )

    def kv_restore(self, snapshot: KVSnapshot) -> None:
        """Goes on from a snapshot instead of this conversation; no token is computed again.

        Raises:
            InvalidRequestError: it was made with another model, another format of the cache or
                another executor, or is broken. The conversation is as it was.
        """
        snapshot.check(self.model)
        cache = self.model.executor.new_cache()
        if snapshot.layout != cache.layout:
            raise InvalidRequestError(
                f"the snapshot's cache is laid out as {snapshot.layout!r}, this model's as "
                f"{cache.layout!r}; load with the kv_cache_type and executor it was made with"
            )
        cache.restore(snapshot.data, len(snapshot.tokens))
        self._cache, self._drafted = cache, []
        self.tokens, self.pending = list(snapshot.tokens), list(snapshot.pending)
        self._remember_all()
        if snapshot.forgotten:
            self._forgotten, self._n_kept = list(snapshot.forgotten), snapshot.n_kept

    def _append(self, tokens: Sequence[int]) -> None:
        if not tokens:
            raise InvalidRequestError("a forward pass needs at least one token")
        self._require_room(len(tokens))
        for _ in self.read(list(tokens)):
            self.pending = []

    def _run(self, tokens: list[int], *, all_rows: bool = False) -> None:
        """A forward pass behind what the cache holds."""
        model = self.model
        last = model.last_conversation()
        if last is not None and last is not self:
            last.keep_logits()
        model.last_conversation = weakref.ref(self)
        self._rows = model.executor.forward(self._cache, tokens, "all" if all_rows else "last")
        self._n_rows, self._row = len(tokens) if all_rows else 1, 0

    def _forget_draft(self) -> None:
        """Takes guesses out of the cache that were not right, or not looked at."""
        if self._drafted:
            self._cache.truncate(len(self.tokens))
            self._drafted = []

    def _forget_oldest(self, new: list[int]) -> list[int]:
        """Makes room: forgets the older half of what is behind the tokens that are kept.

        Args:
            new: tokens that come next, and do not fit.

        Returns:
            Those that are to be read now.
        """
        self._forget_draft()
        keep, tokens = self._n_kept, self.tokens + new
        end = len(tokens) - (self.model.context_size - keep) // 2
        forgotten = self._forgotten + tokens[keep:end]
        if end < len(self.tokens) and self._cache.can_slide:
            self._cache.slide(keep, end - keep)
            del self.tokens[keep:end]
        else:
            held = tokens[:keep] + tokens[end:]
            self.reuse(held)
            new = held[len(self.tokens) :]
        self._forgotten, self._n_kept = forgotten, keep
        return new

    def _remember_all(self) -> None:
        """Nothing is forgotten of what the cache holds now."""
        self._forgotten, self._n_kept = [], self._config.context_keep

    def _without_forgotten(self, tokens: list[int]) -> list[int]:
        """The tokens of a chat, without those of it that this conversation has forgotten.

        Where they are another chat's, it lets go of all behind the tokens kept.
        """
        if not self._forgotten:
            return tokens
        keep = self._n_kept
        end = keep + len(self._forgotten)
        if tokens[:end] == self.tokens[:keep] + self._forgotten:
            return tokens[:keep] + tokens[end:]
        self.truncate(min(keep, len(self.tokens)))
        return tokens

    def _has_room(self, n_tokens: int) -> bool:
        return len(self.tokens) + n_tokens <= self.model.context_size

    def _require_room(self, n_tokens: int) -> None:
        used, room = len(self.tokens), self.model.context_size
        if not self._has_room(n_tokens):
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
