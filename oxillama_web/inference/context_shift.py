"""Context shift: a full context goes on without the older half of its tokens.

    [ n_keep tokens | discarded | newer half ]  -->  [ n_keep tokens | newer half | room ]

The newer half moves up in the cache, as llama.cpp does it: keys are rotated to their new positions
(plan/kv_shift.py). Where that is not possible, it is prefilled again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sequence import TokenSequence


def shift_context(sequence: TokenSequence, new: list[int]) -> list[int]:
    """Discard the older half of the tokens after the first `n_keep`.

    Args:
        new: tokens that come next, and do not fit. They count as the newest.

    Returns:
        The tokens to prefill now: what is left of `new`, after the tokens that left the cache
        although they are kept.
    """
    n_keep, tokens = sequence.n_keep, sequence.tokens + new
    end = len(tokens) - (sequence.model.context_size - n_keep) // 2
    if sequence.evict(end):
        return new
    discarded = sequence.discarded + tokens[n_keep:end]
    kept = tokens[:n_keep] + tokens[end:]
    sequence.use_cached_prefix(kept)
    sequence.discarded, sequence.n_keep = discarded, n_keep
    return kept[sequence.n_tokens :]


def make_room_for_token(sequence: TokenSequence) -> None:
    """Shift the context if it has no room for the pending token."""
    if not sequence.has_room(1):
        n_newer = (sequence.model.context_size - sequence.n_keep) // 2
        sequence.evict(sequence.n_tokens - n_newer, compute_again=True)


def without_discarded(sequence: TokenSequence, tokens: list[int]) -> list[int]:
    """Return the tokens of a whole chat, without those that the sequence has discarded of it.

    If the tokens are of another chat, the sequence drops all but the first `n_keep` tokens.
    """
    if not sequence.discarded:
        return tokens
    n_keep = sequence.n_keep
    end = n_keep + len(sequence.discarded)
    if tokens[:end] == sequence.tokens[:n_keep] + sequence.discarded:
        return tokens[:n_keep] + tokens[end:]
    sequence.truncate(min(n_keep, sequence.n_tokens))
    return tokens
