"""WordPiece models (BERT): the longest token that starts a word, then the longest that goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .word_memory import WordMemory


class WordPieceModel:
    """Encodes words.

    Args:
        ids: tokens, text to id.
        unknown_id: the token of a word that others cannot make up; None leaves it out.
        prefix: what tokens have in front that go on with a word.
        longest_word: characters; words with more are unknown. None takes any.
    """

    def __init__(
        self,
        ids: Mapping[str, int],
        unknown_id: int | None,
        prefix: str = "",
        longest_word: int | None = None,
    ) -> None:
        self._ids = ids
        self._unknown = [] if unknown_id is None else [unknown_id]
        self._prefix = prefix
        self._longest_word = longest_word
        self._longest_token = max(map(len, ids), default=0)
        self._memory = WordMemory(self._encode_word)

    def encode(self, words: Iterable[str]) -> list[int]:
        """Token ids of words."""
        return self._memory.encode(words)

    def _encode_word(self, word: str) -> list[int]:
        if self._longest_word is not None and len(word) > self._longest_word:
            return self._unknown
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefix = self._prefix if start else ""
            for end in range(min(len(word), start + self._longest_token), start, -1):
                token = self._ids.get(prefix + word[start:end])
                if token is not None:
                    ids.append(token)
                    start = end
                    break
            else:
                return self._unknown
        return ids
