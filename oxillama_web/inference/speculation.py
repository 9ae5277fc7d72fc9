"""Speculative decoding: guess the next tokens, and let one forward pass check them all.

Leviathan et al. 2022, https://arxiv.org/abs/2211.17192. The model's logits behind each guess come
out of one pass, the sampler chooses from them as ever, and a guess counts only if it is what was
chosen. So an answer has exactly the tokens that it has without speculation, for every sampler and
seed: a forward pass of several tokens computes the same bits as one of each.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from ..engine import InferenceEngine
    from .model import LoadedModel


class Drafter:
    """Guesses how a sequence goes on: the base class of what `speculation` takes."""

    def propose(self, tokens: Sequence[int], n_most: int) -> list[int]:
        """At most `n_most` tokens that may follow; fewer or none where a guess is not worth it."""
        raise NotImplementedError

    def check(self, model: LoadedModel) -> None:
        """Raises InvalidRequestError if it cannot guess for this model."""


class PromptLookup(Drafter):
    """Guesses that what followed the last few tokens before will follow them again.

    For answers that repeat their prompt: edits, summaries, questions about a text. It costs next to
    nothing. https://github.com/apoorvumang/prompt-lookup-decoding

    Args:
        n_draft: most tokens of a guess.
        longest, shortest: how many of the last tokens must have stood before, the most first.
    """

    def __init__(self, n_draft: int = 10, longest: int = 4, shortest: int = 2) -> None:
        if n_draft < 1 or not 1 <= shortest <= longest:
            raise InvalidRequestError(
                f"n_draft is {n_draft}, longest {longest}, shortest {shortest}; each must be 1 or "
                f"more, and shortest at most longest"
            )
        self._n_draft = n_draft
        self._longest, self._shortest = longest, shortest

    def propose(self, tokens: Sequence[int], n_most: int) -> list[int]:
        """See `Drafter.propose`."""
        ids = array("i", tokens)
        data, size = ids.tobytes(), ids.itemsize
        for length in range(min(self._longest, len(ids) - 1), self._shortest - 1, -1):
            pattern = data[len(data) - length * size :]
            # the last place where it stood before, at the boundary of a token
            start = data.rfind(pattern, 0, len(data) - size)
            while start >= 0 and start % size:
                start = data.rfind(pattern, 0, start + len(pattern) - 1)
            if start >= 0:
                first = start // size + length
                return ids[first : first + min(self._n_draft, n_most)].tolist()
        return []


class DraftModel(Drafter):
    """Guesses with a smaller model of the same vocabulary.

    Args:
        engine: has the small model loaded; it keeps a conversation of its own for the guesses.
        n_draft: most tokens of a guess.
    """

    def __init__(self, engine: InferenceEngine, n_draft: int = 4) -> None:
        if n_draft < 1:
            raise InvalidRequestError(f"n_draft is {n_draft}; it must be 1 or more")
        self._conversation = engine.conversation()
        self._n_draft = n_draft

    def propose(self, tokens: Sequence[int], n_most: int) -> list[int]:
        """See `Drafter.propose`."""
        conversation, n_draft = self._conversation, min(self._n_draft, n_most)
        if n_draft < 1 or len(tokens) + n_draft > conversation.model.context_size:
            return []
        conversation.reuse(tokens)
        for _ in conversation.read(list(tokens[len(conversation.tokens) :])):
            pass
        draft: list[int] = []
        while True:
            draft.append(conversation.model.logits_ops.top_k(conversation.logits, 1)[0][0])
            if len(draft) == n_draft:
                return draft
            conversation.advance(draft[-1])

    def check(self, model: LoadedModel) -> None:
        """See `Drafter.check`."""
        ours, theirs = self._conversation.model.tokenizer, model.tokenizer
        # a thousand tokens tell vocabularies apart
        some = range(0, min(ours.n_vocab, theirs.n_vocab), ours.n_vocab // 1000 + 1)
        if ours.n_vocab != theirs.n_vocab or any(
            ours.token_bytes(token) != theirs.token_bytes(token) for token in some
        ):
            raise InvalidRequestError(
                f"the draft model has {ours.n_vocab} tokens and the model {theirs.n_vocab}, or "
                f"other ones: the two need the same vocabulary"
            )
