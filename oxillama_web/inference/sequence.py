"""A sequence of tokens in a model: its cache, the logits of its last token, and guesses ahead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import ContextLengthError, InvalidRequestError
from .model import NO_LOGITS, Logits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from weakref import WeakSet

    from ..backends.api import Outputs
    from ..backends.cache import SequenceCache
    from ..config import EngineConfig
    from .model import LoadedModel
    from .speculation import Drafter

# Tokens of a prompt's first chunk, where the time that a chunk may take is limited.
_FIRST_CHUNK = 32
# Tokens. Computing fewer is no slower than copying a page of the cache.
_MIN_SHARED_PREFIX = 16
# Tokens between two checkpoints of a cache with recurrent states, at least and at most.
_MIN_CHECKPOINT_DISTANCE = 16
_CHECKPOINT_DISTANCE = 256


class TokenSequence:
    """Tokens that a model has computed, one after the other. Not thread-safe, like the model.

    Attributes:
        model: other sequences may share it.
        cache: what the model remembers of `tokens`, and of a draft after them. After a cut it may
            hold fewer tokens: recurrent states went back to a checkpoint. The next forward pass
            computes the others again.
        tokens: the tokens of the sequence, without those of a draft.
        pending: at most one token, which was generated but not yet run through the model.
        discarded: what context shifts took out of the cache. It stood after the first `n_keep`
            tokens.
        n_keep: how many of the first tokens a context shift keeps.
    """

    def __init__(
        self, model: LoadedModel, config: EngineConfig, siblings: WeakSet[TokenSequence]
    ) -> None:
        """Begin an empty sequence.

        Args:
            config: has the sizes of a prompt's chunks, and the number of tokens to keep.
            siblings: all sequences of the model, this one from now on too. They share prefixes.
        """
        self.model = model
        self.cache = model.executor.new_cache()
        self.tokens: list[int] = []
        self.pending: list[int] = []
        self.discarded: list[int] = []
        self.n_keep = config.context_keep
        self._config = config
        self._siblings = siblings
        self._logits, self._row = NO_LOGITS, 0
        # tokens that were guessed: the cache holds them after `tokens`
        self._draft: list[int] = []
        siblings.add(self)

    @property
    def logits(self) -> memoryview[float]:
        """Float32 [vocabulary] of the last token; empty before the first one."""
        return self._logits.row(self._row)

    # forward passes

    def prefill(self, tokens: list[int]) -> Iterator[int]:
        """Append tokens chunk by chunk; yield how many of them are done.

        Stopping between two chunks leaves the cache with those that are done.
        """
        self.model.require_logits()
        for token in tokens:
            self.model.checked_token(token)
        max_chunk = self._config.prefill_chunk_size or len(tokens)
        seconds = self._config.prefill_seconds
        n_chunk, n_done = min(max_chunk, _FIRST_CHUNK) if seconds else max_chunk, 0
        self.catch_up(max_chunk)
        self._checkpoint(_MIN_CHECKPOINT_DISTANCE)
        message_end = self._last_message_end(tokens)
        while n_done < len(tokens):
            end = n_done + n_chunk
            if n_done < message_end:
                end = min(end, message_end)
            chunk = tokens[n_done:end]
            started = time.perf_counter()
            self.drop_draft()
            self._forward(chunk)
            self.tokens.extend(chunk)
            n_done += len(chunk)
            is_end = n_done in (message_end, len(tokens))
            self._checkpoint(_MIN_CHECKPOINT_DISTANCE if is_end else _CHECKPOINT_DISTANCE)
            if 2 * (time.perf_counter() - started) < seconds:
                n_chunk = min(2 * n_chunk, max_chunk)
            yield n_done

    def decode(self, token: int, drafter: Drafter | None = None, max_draft: int = 0) -> None:
        """Append one token; afterwards `logits` are its own.

        Args:
            token: is valid, and fits into the context.
            drafter: guesses what follows, which is computed in the same pass.
            max_draft: how many tokens it may guess.
        """
        if self._draft and self._draft[0] == token:
            del self._draft[0]
            self._row += 1
            self.model.metrics.speculation(0, 1)
        else:
            self.drop_draft()
            max_draft = min(max_draft, self.model.context_size - len(self.tokens) - 1)
            draft = drafter.propose([*self.tokens, token], max_draft) if drafter else []
            if len(self.tokens) - self.cache.length > _MIN_CHECKPOINT_DISTANCE:
                self.catch_up()
            self._checkpoint(_CHECKPOINT_DISTANCE)
            if draft:
                self.cache.checkpoint(temporary=True)  # the guesses may be wrong
            self._forward([token, *draft], all_rows=bool(draft))
            self._draft = draft
            self.model.metrics.speculation(len(draft), 0)
        self.tokens.append(token)

    def catch_up(self, n_chunk: int = _CHECKPOINT_DISTANCE) -> None:
        """Compute the tokens again, if there are any, that a cut took out of the cache with others.

        Args:
            n_chunk: how many of them at a time.
        """
        self.drop_draft()
        while behind := self.tokens[self.cache.length :][: n_chunk or None]:
            self.model.forward(self.cache, behind, "last")
            self._checkpoint(_CHECKPOINT_DISTANCE)

    def _forward(self, tokens: list[int], *, all_rows: bool = False) -> None:
        self._logits, self._row = NO_LOGITS, 0  # nobody needs a copy of the old ones
        # what a cut or an interrupted pass took out of the cache
        behind = self.tokens[self.cache.length :]
        outputs: Outputs = "all" if all_rows else "last"
        self._logits = self.model.forward(self.cache, behind + tokens, outputs)
        self._row = len(behind) if all_rows else 0

    # the cache

    def has_room(self, n_tokens: int) -> bool:
        """Return whether so many more tokens fit into the context."""
        return len(self.tokens) + n_tokens <= self.model.context_size

    def require_room(self, n_tokens: int) -> None:
        """Raise ContextLengthError unless so many more tokens fit into the context."""
        if not self.has_room(n_tokens):
            raise ContextLengthError(
                f"the prompt has {n_tokens} tokens and the cache holds {len(self.tokens)}, but the "
                f"context takes {self.model.context_size}; shorten the prompt, call reset(), or "
                f"load with a larger context_size"
            )

    def truncate(self, length: int) -> None:
        """Drop all tokens from position `length` on.

        Raises:
            InvalidRequestError: the cache holds fewer tokens.
        """
        if not 0 <= length <= len(self.tokens):
            raise InvalidRequestError(
                f"cannot cut a cache of {len(self.tokens)} tokens to {length}"
            )
        self.cache.truncate(self.cache.restorable(length))
        del self.tokens[length:]
        self.pending, self._draft = [], []
        if length <= self.n_keep:
            self._clear_discarded()

    def restart(self) -> None:
        """Drop everything, and take a cache of the model's new executor."""
        self.replace([], [], self.model.executor.new_cache())

    def replace(self, tokens: Sequence[int], pending: Sequence[int], cache: SequenceCache) -> None:
        """Hold these tokens, and a cache that has computed them, instead of those before."""
        self.cache, self._draft = cache, []
        self.tokens, self.pending = list(tokens), list(pending)
        self._clear_discarded()

    def fork(self) -> TokenSequence:
        """Return a sequence that goes on from here by itself; what both have is held once."""
        self.drop_draft()
        other = TokenSequence(self.model, self._config, self._siblings)
        other.replace(self.tokens, self.pending, self.cache.fork(self.cache.length))
        other.discarded, other.n_keep = self.discarded.copy(), self.n_keep
        other._logits = Logits(self.logits, 1)
        other._logits.detach()
        return other

    def drop_draft(self) -> None:
        """Take guesses out of the cache that were wrong, or were never checked."""
        if self._draft:
            self.cache.truncate(self.cache.restorable(len(self.tokens)))
            self._draft = []

    def use_cached_prefix(self, tokens: Sequence[int]) -> None:
        """Keep what the cache has of the beginning of `tokens`, and drop the rest.

        Where a sibling's cache has more of it, share that, up to what the sibling discarded: its
        later tokens were computed from the discarded ones. At least one token is left to compute,
        because its logits choose what follows.
        """
        longest = max(len(tokens) - 1, 0)
        n_cached = self.cache.restorable(min(_common_prefix(self.tokens, tokens), longest))
        for other in self._siblings:
            shared = other.tokens[: other.n_keep if other.discarded else None]
            length = other.cache.restorable(min(_common_prefix(shared, tokens), longest))
            if length >= n_cached + _MIN_SHARED_PREFIX:
                self.cache, n_cached = other.cache.fork(length), length
                self.tokens = other.tokens[:length]
        self.truncate(n_cached)

    def _checkpoint(self, distance: int) -> None:
        """Keep the recurrent states as they are, so many tokens after the last time or more."""
        if self.cache.n_since_checkpoint >= distance:
            self.cache.checkpoint()

    def _last_message_end(self, tokens: list[int]) -> int:
        """Return how many of the tokens end with the last whole message; 0 without one.

        There the next question goes on: a template may write what follows, the beginning of an
        answer, in another way once the answer is known.
        """
        if self.cache.states is None:
            return 0
        ends = self.model.tokenizer.eog_ids
        return max((index for index, token in enumerate(tokens, 1) if token in ends), default=0)

    def _clear_discarded(self) -> None:
        self.discarded, self.n_keep = [], self._config.context_keep


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))
