"""WordPiece models (BERT): the longest token that starts a pre-token, then the longest next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .pre_token_cache import PreTokenCache


class WordPieceModel:
    """Encodes pre-tokens.

    Args:
        ids: maps each token's text to its id.
        unknown_id: the token for a pre-token that no tokens make up; None leaves it out.
        prefix: what the text of a token begins with if the token continues a pre-token.
        max_length: characters of a pre-token; longer ones are unknown. None takes any.
    """

    def __init__(
        self,
        ids: Mapping[str, int],
        unknown_id: int | None,
        prefix: str = "",
        max_length: int | None = None,
    ) -> None:
        self._ids = ids
        self._unknown = [] if unknown_id is None else [unknown_id]
        self._prefix = prefix
        self._max_length = max_length
        # longest first
        self._token_lengths = sorted(set(map(len, ids)), reverse=True)
        self._cache = PreTokenCache(self._encode_pre_token)

    def encode(self, pre_tokens: Iterable[str]) -> list[int]:
        """Return the token ids of the pre-tokens, in order."""
        return self._cache.encode(pre_tokens)

    def _encode_pre_token(self, text: str) -> list[int]:
        if self._max_length is not None and len(text) > self._max_length:
            return self._unknown
        ids: list[int] = []
        start = 0
        while start < len(text):
            prefix = self._prefix if start else ""
            for length in self._token_lengths:
                end = start + length - len(prefix)
                token = (
                    self._ids.get(prefix + text[start:end]) if start < end <= len(text) else None
                )
                if token is not None:
                    ids.append(token)
                    start = end
                    break
            else:
                return self._unknown
        return ids
