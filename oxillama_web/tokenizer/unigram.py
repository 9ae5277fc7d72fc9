"""Unigram models (SentencePiece): the segmentation whose tokens have the greatest sum of scores.

Follows unigram/model.rs of the `tokenizers` library: Viterbi over a pre-token. A character that no
token covers costs more than any token, and runs of such characters become one unknown token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .bpe import byte_token_ids
from .pre_token_cache import PreTokenCache

UNKNOWN_PENALTY = 10.0


class UnigramModel:
    """Encodes pre-tokens.

    Args:
        ids: maps each token's text to its id.
        scores: the natural logarithm of each token's probability. Only these tokens are used.
        unknown_id: the token for what no token covers; None leaves it out.
        byte_fallback: use the tokens of the character's bytes instead, if there are all of them.
        unknown_score: the score of such a character; None is 10 less than the least score.
    """

    def __init__(
        self,
        ids: Mapping[str, int],
        scores: Mapping[str, float],
        unknown_id: int | None,
        byte_fallback: bool = False,
        unknown_score: float | None = None,
    ) -> None:
        self._ids = ids
        self._scores = scores
        self._unknown_id = unknown_id
        self._byte_fallback = byte_fallback
        if unknown_score is None:
            unknown_score = min(scores.values(), default=0.0) - UNKNOWN_PENALTY
        self._unknown_score = unknown_score
        # the lengths of tokens by their first character: which prefixes are worth a look-up
        lengths: dict[str, set[int]] = {}
        for text in scores:
            if text:
                lengths.setdefault(text[0], set()).add(len(text))
        self._lengths = {first: sorted(found) for first, found in lengths.items()}
        self._cache = PreTokenCache(self._encode_pre_token)

    def encode(self, pre_tokens: Iterable[str]) -> list[int]:
        """Return the token ids of the pre-tokens, in order."""
        return self._cache.encode(pre_tokens)

    def _encode_pre_token(self, text: str) -> list[int]:
        return [token for piece in self._best_segmentation(text) for token in self._ids_of(piece)]

    def _best_segmentation(self, text: str) -> list[str]:
        n = len(text)
        best: list[float] = [0.0] + [float("-inf")] * n
        starts = [0] * (n + 1)
        is_unknown = [False] * (n + 1)
        for start in range(n):
            has_single = False
            for length in self._lengths.get(text[start], ()):
                score = self._scores.get(text[start : start + length])
                if score is None or start + length > n:
                    continue
                has_single = has_single or length == 1
                if best[start] + score > best[start + length]:
                    best[start + length] = best[start] + score
                    starts[start + length] = start
                    is_unknown[start + length] = False
            if not has_single and best[start] + self._unknown_score > best[start + 1]:
                best[start + 1] = best[start] + self._unknown_score
                starts[start + 1] = start
                is_unknown[start + 1] = True
        return _trace_back(text, starts, is_unknown)

    def _ids_of(self, piece: str) -> list[int]:
        if piece in self._scores:
            return [self._ids[piece]]
        fallback = byte_token_ids(self._ids, piece) if self._byte_fallback else None
        if fallback is not None:
            return fallback
        return [] if self._unknown_id is None else [self._unknown_id]


def _trace_back(text: str, starts: list[int], is_unknown: list[bool]) -> list[str]:
    """Return the pieces of the best segmentation; unknown neighbours are joined."""
    pieces: list[str] = []
    end = len(text)
    after_unknown = False
    while end > 0:
        start = starts[end]
        if is_unknown[end] and after_unknown:
            pieces[-1] = text[start:end] + pieces[-1]
        else:
            pieces.append(text[start:end])
        after_unknown = is_unknown[end]
        end = start
    return pieces[::-1]
