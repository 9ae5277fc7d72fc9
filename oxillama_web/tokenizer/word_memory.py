"""A memory of words and their ids: most words of a text were seen before."""

from __future__ import annotations

from collections.abc import Callable, Iterable

# words kept; beyond that the memory starts anew, so that long sessions do not fill it with rarities
_MOST_WORDS = 20_000
_LONGEST_WORD = 64


class WordMemory:
    """Encodes words one by one, each new one with `encode_word`."""

    def __init__(self, encode_word: Callable[[str], list[int]]) -> None:
        self._encode_word = encode_word
        self._words: dict[str, list[int]] = {}

    def encode(self, words: Iterable[str]) -> list[int]:
        """Token ids of words."""
        ids: list[int] = []
        known = self._words
        for word in words:
            found = known.get(word)
            ids += self._new(word) if found is None else found
        return ids

    def _new(self, word: str) -> list[int]:
        ids = self._encode_word(word)
        if len(word) <= _LONGEST_WORD:
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            self._words[word] = ids
        return ids
