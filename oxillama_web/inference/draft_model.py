"""Speculation with a smaller model, which guesses what the larger one will choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidRequestError
from ..validation import having
from .speculation import N_DRAFT, DraftedModel, Drafter

if TYPE_CHECKING:
    from ..engine import InferenceEngine

_ENGINE = having("conversation", "an InferenceEngine")


class DraftModel(Drafter):
    """Guesses with a smaller model of the same vocabulary.

    Args:
        engine: has the small model loaded. The guesses take a conversation of their own.
        n_draft: the largest number of tokens to guess.
    """

    def __init__(self, engine: InferenceEngine, n_draft: int = 4) -> None:
        self._n_draft = N_DRAFT("n_draft", n_draft)
        _ENGINE("engine", engine)
        self._sequence = engine.conversation().sequence

    def propose(self, tokens: Sequence[int], max_draft: int) -> list[int]:
        """See `Drafter.propose`."""
        sequence, n_draft = self._sequence, min(self._n_draft, max_draft)
        if n_draft < 1 or len(tokens) + n_draft > sequence.model.context_size:
            return []
        model = sequence.model
        with sequence.turn:
            with model.lock:
                version = sequence.claim()
                sequence.use_cached_prefix(tokens)
                new = list(tokens[sequence.n_tokens :])
            for _ in sequence.prefill(new, version):
                pass
            with model.lock:
                sequence.resume(version)
                sequence.cache.checkpoint(temporary=True)  # the guesses may be wrong
                draft = [model.logits_ops.top_k(sequence.logits, 1)[0][0]]
                while len(draft) < n_draft:
                    sequence.append(draft[-1])
                    sequence.decode()
                    draft.append(model.logits_ops.top_k(sequence.logits, 1)[0][0])
            return draft

    def check(self, model: DraftedModel) -> None:
        """See `Drafter.check`."""
        ours, theirs = self._sequence.model.tokenizer, model.tokenizer
        # a thousand tokens tell vocabularies apart
        some = range(0, min(ours.n_vocab, theirs.n_vocab), ours.n_vocab // 1000 + 1)
        if ours.n_vocab != theirs.n_vocab or any(
            ours.token_bytes(token) != theirs.token_bytes(token) for token in some
        ):
            raise InvalidRequestError(
                f"the draft model has {ours.n_vocab} tokens and the model {theirs.n_vocab}, or "
                f"other ones: the two need the same vocabulary"
            )
