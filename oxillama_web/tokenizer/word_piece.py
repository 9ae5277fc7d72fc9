"""WordPiece models (BERT): the longest token that starts a word, then the longest that goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class WordPieceModel:
    """Encodes words with the vocabulary of a tokenizer.json's "WordPiece" model."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.ids: dict[str, int] = dict(spec["vocab"])
        self._unknown_id = self.ids[spec.get("unk_token", "[UNK]")]
        self._prefix = spec.get("continuing_subword_prefix", "##")
        self._longest_word = spec.get("max_input_chars_per_word", 100)

    def encode(self, words: Iterable[str]) -> list[int]:
        """Token ids of words."""
        return [token for word in words for token in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        unknown = [self._unknown_id]
        if len(word) > self._longest_word:
            return unknown
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefix = self._prefix if start else ""
            for end in range(len(word), start, -1):
                token = self.ids.get(prefix + word[start:end])
                if token is not None:
                    ids.append(token)
                    start = end
                    break
            else:
                return unknown
        return ids
