"""A cache of pre-tokens and their ids: most pre-tokens of a text have occurred before."""

from __future__ import annotations

from collections.abc import Callable, Iterable

# When the cache is full it starts again from nothing, so that long sessions do not fill it with
# rarities.
_MAX_ENTRIES = 20_000
_MAX_LENGTH = 64


class PreTokenCache:
    """Encodes pre-tokens; calls `encode_pre_token` for those that it does not know yet."""

    def __init__(self, encode_pre_token: Callable[[str], list[int]]) -> None:
        self._encode_pre_token = encode_pre_token
        self._known: dict[str, list[int]] = {}

    def encode(self, pre_tokens: Iterable[str]) -> list[int]:
        """Return the token ids of the pre-tokens, in order."""
        ids: list[int] = []
        known = self._known
        for pre_token in pre_tokens:
            found = known.get(pre_token)
            ids += self._encode_new(pre_token) if found is None else found
        return ids

    def _encode_new(self, pre_token: str) -> list[int]:
        ids = self._encode_pre_token(pre_token)
        if len(pre_token) <= _MAX_LENGTH:
            if len(self._known) >= _MAX_ENTRIES:
                self._known.clear()
            self._known[pre_token] = ids
        return ids
