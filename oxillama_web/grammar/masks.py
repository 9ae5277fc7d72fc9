"""Which tokens of a vocabulary may come next, for each state of a matcher."""

from __future__ import annotations

import math
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from ..backends.logits import TokenBytes
from ..errors import GrammarError
from .matcher import DEAD, Matcher

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps
    from ..tokenizer import Tokenizer
    from .automaton import Automaton

# Masks that are kept; one of a vocabulary of 256k tokens takes 32 KB.
_MOST_MASKS = 512
# Up to so many allowed tokens are listed: then nobody looks at the whole vocabulary.
_MOST_LISTED = 256
# Up to so many likely tokens are read one by one, as long as there is no mask yet.
_MOST_LIKELY = 256


class Vocabulary:
    """The bytes of all tokens that are text, behind each other.

    Attributes:
        bytes: control tokens have none.
        end_tokens: what ends an answer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_tokens = sorted(tokenizer.eog_ids)
        self._tokenizer = tokenizer
        self.n_tokens = tokenizer.n_vocab
        tokens = [self.token_bytes(token) for token in range(self.n_tokens)]
        offsets = array("I", accumulate(map(len, tokens), initial=0))
        self.bytes = TokenBytes(array("B", b"".join(tokens)), offsets)
        self.all_ids = array("I", range(self.n_tokens))

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to a text."""
        tokenizer = self._tokenizer
        if token in tokenizer.eog_ids or tokenizer.is_control(token):
            return b""
        return tokenizer.token_bytes(token)


class Mask(NamedTuple):
    """The tokens that may follow: a bit each in uint32 [ceil(tokens / 32)], or a short list."""

    bits: array[int]
    listed: list[int] | None


class GrammarMasks:
    """A grammar over a vocabulary; answers share its states and masks.

    Attributes:
        matcher: the newest one; a large one is replaced, with its masks.
    """

    def __init__(self, automaton: Automaton, vocabulary: Vocabulary) -> None:
        if not vocabulary.end_tokens:
            raise GrammarError(
                "the model has no end-of-generation token, with which a grammar's text ends"
            )
        self.vocabulary = vocabulary
        self.matcher = Matcher(automaton)
        self.masks: dict[int, Mask] = {}

    def renew(self) -> None:
        """Forgets the past."""
        self.matcher = Matcher(self.matcher.automaton)
        self.masks = {}

    def mask(self, state: int, logits_ops: LogitsOps) -> Mask:
        """The tokens that may follow in a state.

        Raises:
            GrammarError: none may, because the vocabulary lacks what the grammar needs.
        """
        found = self.masks.get(state)
        if found is None:
            if len(self.masks) >= _MOST_MASKS:
                del self.masks[next(iter(self.masks))]
            found = self.masks[state] = self._make(state, logits_ops)
        return found

    def _make(self, state: int, logits_ops: LogitsOps) -> Mask:
        matcher, vocabulary = self.matcher, self.vocabulary
        bits = array("I", bytes(4 * ((vocabulary.n_tokens + 31) // 32)))
        undecided = vocabulary.all_ids
        while undecided:
            undecided, unknown = logits_ops.match_tokens(
                vocabulary.bytes, matcher.states, state, undecided, bits
            )
            matcher.fill_all(unknown)
        if matcher.accepts(state):
            for token in vocabulary.end_tokens:
                bits[token // 32] |= 1 << token % 32
        n_allowed = sum(word.bit_count() for word in bits)
        if n_allowed == 0:
            raise GrammarError(
                "no token of the model's vocabulary can go on with what the grammar asks for"
            )
        return Mask(bits, _listed(bits) if n_allowed <= _MOST_LISTED else None)


class Constraint:
    """Keeps one answer within a grammar: knows where it is, and what may come next."""

    def __init__(self, shared: GrammarMasks, logits_ops: LogitsOps) -> None:
        self._shared = shared
        self._logits_ops = logits_ops
        # masks and states are those of this matcher, even if others renew it
        self._matcher = shared.matcher
        self._state = shared.matcher.start

    def restrict(
        self, logits: memoryview[float], n_most: int | None
    ) -> tuple[list[int], list[float]] | None:
        """Keeps tokens from being chosen that may not follow.

        The result is exact: what is drawn from it has the distribution of the allowed tokens.

        Args:
            logits: float32 [vocabulary], changed in place if None is returned.
            n_most: so many of the most probable allowed tokens are enough; None needs all.

        Returns:
            All allowed tokens or the n_most most probable of them, descending, with their logits;
            or None if those of all others are now -infinity.

        Raises:
            GrammarError: no token is left.
        """
        shared, state = self._shared, self._current()
        if state not in shared.masks and n_most is not None and n_most <= _MOST_LIKELY:
            likely = self._most_likely(logits, n_most, state)
            if likely is not None:
                return likely
        mask = shared.mask(state, self._logits_ops)
        if mask.listed is None:
            self._logits_ops.mask_logits(logits, mask.bits)
            return None
        pairs = [(-logits[token], token) for token in mask.listed if logits[token] > -math.inf]
        if not pairs:
            raise GrammarError("every token that the grammar allows here is banned")
        pairs.sort()
        return [token for _, token in pairs], [-negative for negative, _ in pairs]

    def advance(self, token: int) -> None:
        """Goes on behind a token that `restrict` left."""
        vocabulary = self._shared.vocabulary
        if token not in vocabulary.end_tokens:
            state = self._current()
            self._state = self._shared.matcher.walk(state, vocabulary.token_bytes(token))

    def _current(self) -> int:
        """The state, in the matcher that is shared now."""
        shared = self._shared
        if shared.matcher.is_large:
            shared.renew()
        if self._matcher is not shared.matcher:
            self._state = shared.matcher.adopt(self._matcher, self._state)
            self._matcher = shared.matcher
        return self._state

    def _most_likely(
        self, logits: memoryview[float], n_most: int, state: int
    ) -> tuple[list[int], list[float]] | None:
        """The first n_most allowed ones among the most probable tokens, if they are so many."""
        ids, values = self._logits_ops.top_k(logits, 2 * n_most + 8)
        found_ids: list[int] = []
        found_values: list[float] = []
        for token, value in zip(ids, values, strict=True):
            if value > -math.inf and self._is_allowed(token, state):
                found_ids.append(token)
                found_values.append(value)
                if len(found_ids) == n_most:
                    return found_ids, found_values
        return None

    def _is_allowed(self, token: int, state: int) -> bool:
        vocabulary, matcher = self._shared.vocabulary, self._shared.matcher
        if token >= vocabulary.n_tokens:
            return False
        if token in vocabulary.end_tokens:
            return matcher.accepts(state)
        data = vocabulary.token_bytes(token)
        return bool(data) and matcher.walk(state, data) != DEAD


def _listed(bits: array[int]) -> list[int]:
    return [
        32 * index + bit for index, word in enumerate(bits) if word for bit in range(32)
        if word >> bit & 1
    ]  # fmt: skip
