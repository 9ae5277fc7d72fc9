"""Unigram models (SentencePiece): the split of a word whose tokens' scores sum up to the most.

As the `tokenizers` library's unigram/model.rs: Viterbi over the word; a character that no token
covers costs more than any token, and runs of such characters become one unknown token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .bpe import byte_token_ids
from .word_memory import WordMemory

UNKNOWN_PENALTY = 10.0


class UnigramModel:
    """Encodes words.

    Args:
        ids: tokens, text to id.
        scores: the logarithm of each token's probability; only these are found in words.
        unknown_id: the token of what no token covers; None leaves it out.
        byte_fallback: whether the tokens of its bytes, if there are all, are used instead.
        unknown_score: what such a character scores; None takes less than the least score.
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
        # token lengths by first character: which prefixes are worth a look
        lengths: dict[str, set[int]] = {}
        for text in scores:
            if text:
                lengths.setdefault(text[0], set()).add(len(text))
        self._lengths = {first: sorted(found) for first, found in lengths.items()}
        self._memory = WordMemory(self._encode_word)

    def encode(self, words: Iterable[str]) -> list[int]:
        """Token ids of words."""
        return self._memory.encode(words)

    def _encode_word(self, word: str) -> list[int]:
        return [token for piece in self._best_split(word) for token in self._piece_ids(piece)]

    def _best_split(self, word: str) -> list[str]:
        n = len(word)
        best: list[float] = [0.0] + [float("-inf")] * n
        starts = [0] * (n + 1)
        is_unknown = [False] * (n + 1)
        for start in range(n):
            has_single = False
            for length in self._lengths.get(word[start], ()):
                score = self._scores.get(word[start : start + length])
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
        return _trace_back(word, starts, is_unknown)

    def _piece_ids(self, piece: str) -> list[int]:
        if piece in self._scores:
            return [self._ids[piece]]
        fallback = byte_token_ids(self._ids, piece) if self._byte_fallback else None
        if fallback is not None:
            return fallback
        return [] if self._unknown_id is None else [self._unknown_id]


def _trace_back(word: str, starts: list[int], is_unknown: list[bool]) -> list[str]:
    """The pieces that end where the best split has them; neighbours that are unknown joined."""
    pieces: list[str] = []
    end = len(word)
    after_unknown = False
    while end > 0:
        start = starts[end]
        if is_unknown[end] and after_unknown:
            pieces[-1] = word[start:end] + pieces[-1]
        else:
            pieces.append(word[start:end])
        after_unknown = is_unknown[end]
        end = start
    return pieces[::-1]
