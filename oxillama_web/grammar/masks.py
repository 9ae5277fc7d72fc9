"""Which tokens of a vocabulary may come next, for each state of a matcher."""

from __future__ import annotations

import math
from array import array
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from ..backends.logits import TokenBytes
from ..errors import GrammarError
from .matcher import DEAD, Matcher, TokenEdge

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps
    from ..tokenizer import Tokenizer
    from .automaton import Automaton
    from .expressions import Token

# Masks that are kept; one of a vocabulary of 256k tokens takes 32 KB.
_MAX_MASKS = 512
# With so few allowed tokens their list serves, and nothing loops over the vocabulary.
_MAX_LISTED = 256
# While there is no mask, the most probable tokens are checked one by one if no more are needed.
_MAX_CHECKED = 256


class Vocabulary:
    """The bytes that each token adds to a text.

    Attributes:
        n_tokens: the number of tokens.
        end_tokens: the tokens that end an answer, ascending.
        bytes: end tokens and control tokens have none.
        all_ids: uint32 [n_tokens], 0 to n_tokens - 1.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.n_tokens = tokenizer.n_vocab
        self.end_tokens = sorted(tokenizer.eog_ids)
        self._tokenizer = tokenizer
        tokens = [self.token_bytes(token) for token in range(self.n_tokens)]
        offsets = array("I", accumulate(map(len, tokens), initial=0))
        self.bytes = TokenBytes(array("B", b"".join(tokens)), offsets)
        self.all_ids = array("I", range(self.n_tokens))

    def resolved(self, token: Token) -> TokenEdge:
        """Return a grammar's token by its id.

        Raises:
            GrammarError: the vocabulary has no such token, or it ends an answer.
        """
        name = token.name
        ids = self._tokenizer.encode(name, False, True, False) if isinstance(name, str) else [name]
        shown = name if isinstance(name, str) else f"<[{name}]>"
        if len(ids) != 1 or not 0 <= ids[0] < self.n_tokens:
            raise GrammarError(f"{shown} of the grammar is not one token of the model's vocabulary")
        if ids[0] in self.end_tokens and not token.negated:
            raise GrammarError(
                f"{shown} of the grammar ends an answer; leave it out, for an answer ends where "
                "the grammar does"
            )
        return TokenEdge(ids[0], token.negated)

    @cached_property
    def with_text(self) -> array[int]:
        """The tokens of `has_text`: one bit a token, uint32 [ceil(tokens / 32)]."""
        bits = _no_bits(self.n_tokens)
        for token in filter(self.has_text, range(self.n_tokens)):
            bits[token // 32] |= 1 << token % 32
        return bits

    def has_text(self, token: int) -> bool:
        """Return whether a token that does not end an answer stands for any text, or a name."""
        text = b"" if token in self.end_tokens else self._tokenizer.token_bytes(token)
        return text[:1] not in (b"", b"\0")

    def token_bytes(self, token: int) -> bytes:
        """Return what a token adds to a text."""
        tokenizer = self._tokenizer
        if token in tokenizer.eog_ids or tokenizer.is_control(token):
            return b""
        return tokenizer.token_bytes(token)


class Mask(NamedTuple):
    """The tokens that may follow.

    Attributes:
        bits: one bit a token, uint32 [ceil(tokens / 32)].
        listed: the same tokens, ascending; None if there are many.
    """

    bits: array[int]
    listed: list[int] | None


class GrammarMasks:
    """A grammar over a vocabulary. Answers share its states and masks.

    Attributes:
        matcher: the current one; a large one is replaced, together with its masks.
        masks: the masks of its states, the oldest first.
    """

    def __init__(self, automaton: Automaton, vocabulary: Vocabulary) -> None:
        if not vocabulary.end_tokens:
            raise GrammarError(
                "the model has no end-of-generation token, with which a grammar's text ends"
            )
        self.vocabulary = vocabulary
        tokens = {node: vocabulary.resolved(token) for node, token in automaton.tokens.items()}
        self.matcher = Matcher(automaton, tokens)
        self.masks: dict[int, Mask] = {}

    def reset(self) -> None:
        """Start again with an empty matcher and no masks."""
        self.matcher = Matcher(self.matcher.automaton, self.matcher.tokens)
        self.masks = {}

    def mask(self, state: int, logits_ops: LogitsOps) -> Mask:
        """Return the tokens that may follow in a state.

        Raises:
            GrammarError: no token may, because the vocabulary lacks what the grammar needs.
        """
        found = self.masks.get(state)
        if found is None:
            if len(self.masks) >= _MAX_MASKS:
                del self.masks[next(iter(self.masks))]
            found = self.masks[state] = self._make(state, logits_ops)
        return found

    def _make(self, state: int, logits_ops: LogitsOps) -> Mask:
        matcher, vocabulary = self.matcher, self.vocabulary
        bits = _no_bits(vocabulary.n_tokens)
        undecided = vocabulary.all_ids
        while undecided:
            undecided, missing = logits_ops.match_tokens(
                vocabulary.bytes, matcher.states, state, undecided, bits
            )
            matcher.compute(missing)
        for edge in matcher.token_edges(state):
            at, bit = edge.id // 32, 1 << edge.id % 32
            for index, word in enumerate(vocabulary.with_text):
                named = bit if index == at else 0
                bits[index] |= word & ~named if edge.negated else word & named
        if matcher.accepts(state):
            for token in vocabulary.end_tokens:
                bits[token // 32] |= 1 << token % 32
        n_allowed = sum(word.bit_count() for word in bits)
        if n_allowed == 0:
            raise GrammarError(
                "no token of the model's vocabulary can go on with what the grammar asks for"
            )
        return Mask(bits, _listed(bits) if n_allowed <= _MAX_LISTED else None)


class Constraint:
    """Keeps one answer within a grammar: `Constraint` of sampling/sampler.py."""

    def __init__(self, shared: GrammarMasks, logits_ops: LogitsOps) -> None:
        self._shared = shared
        self._logits_ops = logits_ops
        # the state is a number of this matcher, which other answers may replace
        self._matcher = shared.matcher
        self._state = shared.matcher.start

    def restrict(
        self, logits: memoryview[float], n_needed: int | None
    ) -> tuple[list[int], list[float]] | None:
        """Exclude the tokens that may not come next; see sampling/sampler.py.

        Raises:
            GrammarError: no token is left.
        """
        shared, state = self._shared, self._current_state()
        if state not in shared.masks and n_needed is not None and n_needed <= _MAX_CHECKED:
            likely = self._check_most_likely(logits, n_needed, state)
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
        """Append a token that `restrict` allowed."""
        vocabulary = self._shared.vocabulary
        if token not in vocabulary.end_tokens:
            state = self._current_state()
            data = vocabulary.token_bytes(token)
            self._state = self._shared.matcher.step_token(state, token, data)

    def follow(self, data: bytes) -> bool:
        """Append text that is part of a token; False if the grammar does not allow it."""
        state = self._shared.matcher.step(self._current_state(), data)
        if state != DEAD:
            self._state = state
        return state != DEAD

    def _current_state(self) -> int:
        """Return the state as a number of the shared matcher, which is replaced if it is large."""
        shared = self._shared
        if shared.matcher.is_large:
            shared.reset()
        if self._matcher is not shared.matcher:
            self._state = shared.matcher.remap(self._matcher, self._state)
            self._matcher = shared.matcher
        return self._state

    def _check_most_likely(
        self, logits: memoryview[float], n_needed: int, state: int
    ) -> tuple[list[int], list[float]] | None:
        """Return n_needed allowed tokens if the most probable tokens have that many."""
        ids, values = self._logits_ops.top_k(logits, 2 * n_needed + 8)
        found_ids: list[int] = []
        found_values: list[float] = []
        for token, value in zip(ids, values, strict=True):
            if value > -math.inf and self._is_allowed(token, state):
                found_ids.append(token)
                found_values.append(value)
                if len(found_ids) == n_needed:
                    return found_ids, found_values
        return None

    def _is_allowed(self, token: int, state: int) -> bool:
        vocabulary, matcher = self._shared.vocabulary, self._shared.matcher
        if token >= vocabulary.n_tokens:
            return False
        if token in vocabulary.end_tokens:
            return matcher.accepts(state)
        if not vocabulary.has_text(token):
            return False
        return matcher.step_token(state, token, vocabulary.token_bytes(token)) != DEAD


def _no_bits(n_tokens: int) -> array[int]:
    return array("I", bytes(4 * ((n_tokens + 31) // 32)))


def _listed(bits: array[int]) -> list[int]:
    return [
        32 * index + bit for index, word in enumerate(bits) if word for bit in range(32)
        if word >> bit & 1
    ]  # fmt: skip
