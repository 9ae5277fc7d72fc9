"""GGUF files with a wrong header: one of its numbers is changed."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_NUMBERS = (0, 1, 2, 3, 7, 255, 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 61,
            (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip


def lying_headers(model: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Copies of a model's file, each with what was changed, such as "dimension at 1234 is 0"."""
    chance = random.Random(seed)
    places = _Places(model).found
    for index in range(count):
        kind = list(places)[index % len(places)]
        place, size = chance.choice(places[kind])
        old = int.from_bytes(model[place : place + size], "little")
        near = (old - 1, old + 1, old * 2, old ^ (1 << chance.randrange(8 * size)))
        new = chance.choice(near if chance.random() < 0.5 else _NUMBERS) % (1 << 8 * size)
        if new == old:
            new ^= 1
        raw = new.to_bytes(size, "little")
        yield f"{kind} at {place} is {new}", model[:place] + raw + model[place + size :]


class _Places:
    """Where the header's numbers are: (place, size) of each, by what they say."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._at = 4
        self.found: dict[str, list[tuple[int, int]]] = {}
        self._number("version", 4)
        n_tensors, n_keys = self._number("tensor count", 8), self._number("key count", 8)
        for _ in range(n_keys):
            self._text("key length")
            self._value(self._number("value type", 4))
        for _ in range(n_tensors):
            self._text("name length")
            for _ in range(self._number("dimension count", 4)):
                self._number("dimension", 8)
            self._number("tensor type", 4)
            self._number("offset", 8)

    def _number(self, kind: str, size: int) -> int:
        self.found.setdefault(kind, []).append((self._at, size))
        (value,) = struct.unpack_from(f"<{'BHxIxxxQ'[size - 1]}", self._model, self._at)
        self._at += size
        return int(value)

    def _text(self, kind: str) -> None:
        length = self._number(kind, 8)
        self._at += length

    def _value(self, value_type: int) -> None:
        if value_type == _STRING:
            self._text("text length")
        elif value_type == _ARRAY:
            item_type = self._number("array type", 4)
            for _ in range(self._number("array length", 8)):
                if item_type == _STRING:
                    self._text("item length")
                else:
                    self._at += _SIZES[item_type]
        else:
            self._number("value", _SIZES[value_type])
