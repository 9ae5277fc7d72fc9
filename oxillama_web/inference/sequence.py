"""A sequence of tokens in a model: its cache, the logits of its last token, and guesses ahead.

Answers share forward passes: a pass of one sequence takes along the pending tokens of all others
whose answers wait for theirs. So their next steps find the logits that they need.

An exception can come anywhere: Ctrl-C, no memory, an error in a caller's own class. So what the
cache holds is at every moment the beginning of `text`, or `settle` knows how much of it is. Text is
appended before the cache computes it, and cut after the cache was. Attributes that must change
together do so in one statement, which nothing interrupts.
"""

from __future__ import annotations

import time
import weakref
from _thread import RLock
from typing import TYPE_CHECKING

from ..backends.forking import renew_after_fork
from ..errors import ContextLengthError, ConversationChangedError, InvalidRequestError
from .model import NO_LOGITS, Logits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from weakref import WeakSet

    from ..backends.cache import SequenceCache
    from ..config import EngineConfig
    from .answer_under_way import AnswerUnderWay, TakeBack
    from .model import LoadedModel

# Tokens of a prompt's first chunk, where the time that a chunk may take is limited.
_FIRST_CHUNK = 32
# Tokens. Computing fewer is no slower than copying a page of the cache.
_MIN_SHARED_PREFIX = 16
# Tokens between two checkpoints of a cache with recurrent states, at least and at most.
_MIN_CHECKPOINT_DISTANCE = 16
_CHECKPOINT_DISTANCE = 256
# Tokens of a prompt in a pass that answers share, besides one for each of them: few, so that such a
# pass takes about twice as long as one of the answers alone.
_SHARED_CHUNK = 16


class TokenSequence:
    """Tokens that a model has computed, one after the other.

    Whoever calls a method holds `model.lock`; `prefill` takes it for each chunk by itself. `turn`
    is taken before `model.lock`, never while that is held.

    Attributes:
        model: other sequences may share it.
        turn: held for one step of an answer, for a whole answer of `generate`, or for a change.
        version: counts what was begun with the sequence. An answer of an older version has ended.
        cache: what the model remembers of `tokens`, and of a draft after them. After a cut it may
            hold fewer tokens: recurrent states went back to a checkpoint. The next forward pass
            computes the others again.
        text: `tokens`, then `pending`.
        n_pending: 1 if the last token of the text was generated but not yet run through the model.
        discarded: what context shifts took out of the cache. It stood after the first `n_keep`
            tokens.
        n_keep: how many of the first tokens a context shift keeps.
        n_evicted: how many tokens context shifts took out of the text, ever.
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
        self.turn = RLock()
        self.version = 0
        self.cache = model.executor.new_cache()
        self.text: list[int] = []
        self.n_pending = 0
        self.discarded: list[int] = []
        self.n_keep = config.context_keep
        self.n_evicted = 0
        self._config = config
        self._siblings = siblings
        self._logits, self._row = NO_LOGITS, 0
        # tokens that were guessed: the cache holds them after `tokens`
        self._draft: list[int] = []
        # so many tokens of the cache are right, if a shift was interrupted
        self._n_certain: int | None = None
        self._owed: TakeBack | None = None
        # a weak reference: nobody has to end an answer that is dropped
        self._answer: Callable[[], AnswerUnderWay | None] = _no_answer
        siblings.add(self)
        renew_after_fork(self)

    def renew_after_fork(self) -> None:
        """See `forking`."""
        self.turn = RLock()

    @property
    def tokens(self) -> list[int]:
        """The tokens of the sequence, without a pending one and those of a draft."""
        return self.text[:-1] if self.n_pending else self.text

    @property
    def pending(self) -> list[int]:
        """At most one token, which was generated but not yet run through the model."""
        return self.text[-1:] if self.n_pending else []

    @property
    def n_tokens(self) -> int:
        """How many `tokens` there are."""
        return len(self.text) - self.n_pending

    @property
    def logits(self) -> memoryview[float]:
        """Float32 [vocabulary] of the last token; empty before the first one."""
        return self._logits.row(self._row)

    # who uses it

    def claim(self, answer: AnswerUnderWay | None = None) -> int:
        """Begin something else with the sequence; return its version.

        An answer that is under way ends: its next step raises an error.

        Args:
            answer: the one that begins now.

        Raises:
            ModelNotLoadedError: the model was closed.
        """
        self.model.require_open()
        before = self._answer()
        if before is not None:
            self.take_back(before.owed())
        self.settle()
        reference = _no_answer if answer is None else weakref.ref(answer)
        self.version, self._answer = self.version + 1, reference
        return self.version

    def resume(self, version: int) -> None:
        """Go on with what `claim` has begun.

        Raises:
            ConversationChangedError: something else was begun since then.
            ModelNotLoadedError: the model was closed.
        """
        self.model.require_open()
        if version != self.version:
            raise ConversationChangedError(
                "the conversation was used for something else while this answer was written: it "
                "was asked, reset, cut or restored, or the model's adapters changed; begin again, "
                "or take a conversation for each answer (engine.conversation())"
            )
        self.settle()

    def take_back(self, owed: TakeBack | None) -> None:
        """Cut what an answer asks for, as soon as somebody holds the model's lock."""
        if owed is not None:
            self._owed = owed

    def settle(self) -> None:
        """Make cache and text agree after whatever was interrupted."""
        owed, n_tokens = self._owed, len(self.text) - self.n_pending
        if self._n_certain is not None:
            self._cut_cache(self._n_certain)
            self._n_certain = None
        elif self.cache.length != n_tokens + len(self._draft):
            self._cut_cache(n_tokens)
        if owed is not None:
            if owed.version == self.version:
                self._rewind(owed.length, owed.rest)
            self._owed = None

    # forward passes

    def prefill(self, tokens: list[int], version: int | None = None) -> Iterator[int]:
        """Append tokens chunk by chunk; yield how many of them are done.

        Stopping between two chunks leaves the cache with those that are done.

        Args:
            tokens: they begin with the pending one, if there is one.
            version: what `claim` has returned; None for the present one.
        """
        version = self.version if version is None else version
        self.model.require_logits()
        for token in tokens:
            self.model.checked_token(token)
        max_chunk = self._config.prefill_chunk_size or len(tokens)
        seconds = self._config.prefill_seconds
        n_chunk, n_done = min(max_chunk, _FIRST_CHUNK) if seconds else max_chunk, 0
        message_end = self._last_message_end(tokens)
        while n_done < len(tokens):
            started = time.perf_counter()
            with self.model.lock:
                self.resume(version)
                self.drop_draft()
                if n_done == 0:
                    self._prepare(max_chunk, _MIN_CHECKPOINT_DISTANCE)
                others = self._others_that_wait()
                # that of the prompt before this one took along those that do not wait now
                n_others = max(len(others), self.model.n_taken_along)
                end = n_done + min(n_chunk, _SHARED_CHUNK + n_others if n_others else n_chunk)
                if n_done < message_end:
                    end = min(end, message_end)
                chunk = tokens[n_done:end]
                self._run(chunk[self.n_pending :], others=others)
                n_done += len(chunk)
                is_end = n_done in (message_end, len(tokens))
                self._checkpoint(_MIN_CHECKPOINT_DISTANCE if is_end else _CHECKPOINT_DISTANCE)
            if 2 * (time.perf_counter() - started) < seconds:
                n_chunk = min(2 * n_chunk, max_chunk)
            yield n_done

    def append(self, token: int) -> None:
        """Append a token that was chosen; it is pending until `decode` runs it."""
        self.text.append(token)
        self.n_pending = 1

    def max_draft(self) -> int:
        """Return how many tokens may be guessed after the pending one; 0 if it was guessed."""
        if self._draft and self._draft[0] == self.text[-1]:
            return 0
        return self.model.context_size - len(self.text)

    def decode(self, draft: Sequence[int] = ()) -> None:
        """Run the pending token, which fits into the context; afterwards `logits` are its own.

        Args:
            draft: what may follow, which is computed in the same pass.
        """
        if self._draft and self._draft[0] == self.text[-1]:
            self.n_pending, self._draft, self._row = 0, self._draft[1:], self._row + 1
            self.model.metrics.speculation(0, 1)
            return
        self.drop_draft()
        self._prepare(_CHECKPOINT_DISTANCE, _CHECKPOINT_DISTANCE)
        if draft:
            self.cache.checkpoint(temporary=True)  # the guesses may be wrong
        # with a draft, each token has logits, of which the others would need one row
        self._run([], draft, [] if draft else self._others_that_wait())
        self.model.metrics.speculation(len(draft), 0)

    def catch_up(self, n_chunk: int = _CHECKPOINT_DISTANCE) -> None:
        """Compute the tokens again, if there are any, that a cut took out of the cache with others.

        Args:
            n_chunk: how many of them at a time.
        """
        self.drop_draft()
        while behind := self.tokens[self.cache.length :][: n_chunk or None]:
            self.model.forward([(self.cache, behind)], "last")
            self._checkpoint(_CHECKPOINT_DISTANCE)

    def _prepare(self, n_chunk: int, distance: int) -> None:
        """Compute what the cache lacks, if it is much, and keep a checkpoint after the distance."""
        if self.n_tokens - self.cache.length > _MIN_CHECKPOINT_DISTANCE:
            self.catch_up(n_chunk)
        self._checkpoint(distance)

    def _run(
        self,
        new: Sequence[int],
        draft: Sequence[int] = (),
        others: Sequence[TokenSequence] = (),
    ) -> None:
        """Run the pending token, new ones, and a draft; take the others' pending tokens along."""
        n_before, n_pending = len(self.text), self.n_pending
        for sequence in (self, *others):
            sequence._logits, sequence._row = NO_LOGITS, 0  # nobody needs a copy of the old ones
        self.text.extend(new)
        self.n_pending = 0
        try:
            n_cached = self.cache.length
            try:
                self._forward(draft, others)
            except Exception:
                if not others:
                    raise
                # one of the others may be the cause, which its own step will tell
                for sequence in others:
                    sequence.settle()
                self._cut_cache(n_cached)
                self._forward(draft, [])
        except BaseException:
            del self.text[n_before:]
            self.n_pending = n_pending
            self.settle()
            raise

    def _forward(self, draft: Sequence[int], others: Sequence[TokenSequence]) -> None:
        """Run what the cache lacks of the text, and the others' pending tokens."""
        # also what a cut or an interrupted pass took out of the cache
        behind = self.text[self.cache.length :]
        batch = [
            (self.cache, behind + list(draft)),
            *[(each.cache, each.pending) for each in others],
        ]
        logits = self.model.forward(batch, "all" if draft else "last")
        self._logits, self._row, self._draft = logits, len(behind) - 1 if draft else 0, list(draft)
        for row, other in enumerate(others, 1):
            other._logits, other._row, other.n_pending = logits, row, 0

    def _others_that_wait(self) -> list[TokenSequence]:
        """Return the other sequences whose answers wait for a pass over their pending token."""
        others = [other for other in self._siblings if other is not self and other._waits()]
        for other in others:
            other._checkpoint(_CHECKPOINT_DISTANCE)
        return others

    def _waits(self) -> bool:
        answer = self._answer()
        return (
            answer is not None
            and self.n_pending == 1
            and answer.needs_pass()
            and self.has_room(1)
            # otherwise there is more to do than to run one token
            and self._owed is None
            and self._n_certain is None
            and self.cache.length == self.n_tokens
        )

    # the cache

    def has_room(self, n_tokens: int) -> bool:
        """Return whether so many more tokens fit into the context."""
        return self.n_tokens + n_tokens <= self.model.context_size

    def require_room(self, n_tokens: int) -> None:
        """Raise ContextLengthError unless so many more tokens fit into the context."""
        if not self.has_room(n_tokens):
            raise ContextLengthError(
                f"the prompt has {n_tokens} tokens and the cache holds {self.n_tokens}, but the "
                f"context takes {self.model.context_size}; shorten the prompt, call reset(), or "
                f"load with a larger context_size"
            )

    def truncate(self, length: int) -> None:
        """Drop all tokens from position `length` on.

        Raises:
            InvalidRequestError: the cache holds fewer tokens.
        """
        if not 0 <= length <= self.n_tokens:
            raise InvalidRequestError(f"cannot cut a cache of {self.n_tokens} tokens to {length}")
        self._rewind(length, [])
        if length <= self.n_keep:
            self._clear_discarded()

    def make_last_pending(self) -> None:
        """Have the last token run again, if none is pending and there is one."""
        if self.text and not self.n_pending:
            self._rewind(len(self.text) - 1, self.text[-1:])

    def evict(self, end: int, *, compute_again: bool = False) -> bool:
        """Take the tokens after the first `n_keep` and before `end` out of cache and text.

        Args:
            compute_again: where positions in the cache cannot move, the next pass computes the
                tokens after `end` again.

        Returns:
            False, and nothing changes, where positions cannot move.
        """
        n_keep = self.n_keep
        self.drop_draft()
        can_shift = end < self.cache.length and self.cache.can_shift
        if not can_shift and not compute_again:
            return False
        self._n_certain = n_keep
        if can_shift:
            self.cache.shift(n_keep, end - n_keep)
        else:
            self._cut_cache(n_keep)
        text = self.text[:n_keep] + self.text[end:]
        discarded = self.discarded + self.text[n_keep:end]
        n_evicted = self.n_evicted + end - n_keep
        self.text, self.discarded, self.n_evicted, self._n_certain = (
            text, discarded, n_evicted, None,
        )  # fmt: skip
        return True

    def restart(self) -> None:
        """Drop everything, and take a cache of the model's new executor."""
        self.replace([], [], self.model.executor.new_cache())

    def replace(self, tokens: Sequence[int], pending: Sequence[int], cache: SequenceCache) -> None:
        """Hold these tokens, and a cache that has computed them, instead of those before."""
        text, n_keep = [*tokens, *pending], self._config.context_keep
        self.cache, self.text, self.n_pending, self._draft, self._n_certain = (
            cache, text, len(pending), [], None,
        )  # fmt: skip
        self.discarded, self.n_keep = [], n_keep

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
            self._cut_cache(self.n_tokens)

    def _cut_cache(self, length: int) -> None:
        """Cut the cache to a length, or to a checkpoint before it, without any draft."""
        self._draft = []
        if self.cache.length > length:
            self.cache.truncate(self.cache.restorable(length))

    def _rewind(self, length: int, rest: list[int]) -> None:
        """Go back to the first tokens of the text, with others after them; the last is pending."""
        self._cut_cache(min(length, self.n_tokens))
        if rest:
            self.text, self.n_pending = self.text[:length] + rest, 1
        elif length < len(self.text):
            self.text, self.n_pending = self.text[:length], 0

    def use_cached_prefix(self, tokens: Sequence[int]) -> None:
        """Keep what the cache has of the beginning of `tokens`, and drop the rest.

        Where a sibling's cache has more of it, share that, up to what the sibling discarded: its
        later tokens were computed from the discarded ones. At least one token is left to compute,
        because its logits choose what follows.
        """
        longest = max(len(tokens) - 1, 0)
        n_cached = self.cache.restorable(min(_common_prefix(self.tokens, tokens), longest))
        found = None
        for other in self._siblings:
            other.settle()
            shared = other.tokens[: other.n_keep if other.discarded else None]
            length = other.cache.restorable(min(_common_prefix(shared, tokens), longest))
            if length >= n_cached + _MIN_SHARED_PREFIX:
                found, n_cached = other, length
        if found is not None:
            self.replace(tokens[:n_cached], [], found.cache.fork(n_cached))
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


def _no_answer() -> None:
    """Return what a reference to no answer returns."""
