"""Speculative decoding: guess the next tokens, and let one forward pass check them all.

Leviathan et al. 2022, https://arxiv.org/abs/2211.17192. One pass computes the model's logits after
each guess. The sampler chooses from them as always, and a guess counts only if it is what was
chosen. So an answer has exactly the tokens that it has without speculation, for every sampler and
seed: a forward pass over several tokens computes the same bits as one pass for each.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..validation import integer

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

N_DRAFT = integer(1)


class DraftedModel(Protocol):
    """What a drafter may know of the model that it guesses for."""

    tokenizer: Tokenizer


class Drafter:
    """Guesses how a sequence goes on: the base class of what `speculation` takes."""

    def propose(self, tokens: Sequence[int], max_draft: int) -> list[int]:
        """Return tokens that may follow, at most `max_draft`, or none if no guess is likely."""
        raise NotImplementedError

    def check(self, model: DraftedModel) -> None:
        """Raise InvalidRequestError if it cannot guess for this model."""


class PromptLookup(Drafter):
    """Guesses that what once followed the last few tokens will follow them again.

    This suits answers that repeat their prompt: edits, summaries, questions about a text. It costs
    next to nothing. https://github.com/apoorvumang/prompt-lookup-decoding

    Args:
        n_draft: the largest number of tokens to guess.
        longest, shortest: how many of the last tokens must have occurred before; the longest
            match is tried first.
    """

    def __init__(self, n_draft: int = 10, longest: int = 4, shortest: int = 2) -> None:
        self._n_draft = N_DRAFT("n_draft", n_draft)
        self._longest = integer(1)("longest", longest)
        self._shortest = integer(1, self._longest)("shortest", shortest)

    def propose(self, tokens: Sequence[int], max_draft: int) -> list[int]:
        """See `Drafter.propose`."""
        ids = array("i", tokens)
        data, size = ids.tobytes(), ids.itemsize
        for length in range(min(self._longest, len(ids) - 1), self._shortest - 1, -1):
            pattern = data[len(data) - length * size :]
            # its last occurrence before, at the boundary of a token
            start = data.rfind(pattern, 0, len(data) - size)
            while start >= 0 and start % size:
                start = data.rfind(pattern, 0, start + len(pattern) - 1)
            if start >= 0:
                first = start // size + length
                return ids[first : first + min(self._n_draft, max_draft)].tolist()
        return []
