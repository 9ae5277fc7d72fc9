"""SentencePiece's "precompiled charsmap": a table of texts and what they are normalized to.

The data is the size of a trie in bytes, the trie, and then the replacements, each ended by a zero
byte. The trie is a double array (Darts: https://github.com/s-yata/darts-clone) of 32-bit units. A
unit has its label in bits 0 to 7, a flag in bit 8 that tells whether a key ends there, and the
offset of its children in bits 10 and up.
"""

from __future__ import annotations

import sys
from array import array

from ..errors import TokenizerError

_IS_VALUE = 1 << 31


class CharsMap:
    """Maps keys, found in a text, to their replacements.

    Raises:
        TokenizerError: the data is broken.
    """

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:4], "little")
        if len(data) < 8 or size < 4 or size % 4 or size + 4 >= len(data) or data[-1]:
            raise TokenizerError("the vocabulary's precompiled charsmap is broken")
        self._units = array("I", data[4 : size + 4])
        if sys.byteorder == "big":
            self._units.byteswap()
        self._replacements = data[size + 4 :]

    def matches(self, text: bytes, start: int) -> list[tuple[int, str]]:
        """Return the keys that begin at `start`, shortest first: their ends and replacements."""
        units = self._units
        found = []
        at = _offset(units[0])
        for position in range(start, len(text)):
            label = text[position]
            at ^= label
            if not label or at >= len(units) or units[at] & (_IS_VALUE | 0xFF) != label:
                break
            unit = units[at]
            at ^= _offset(unit)
            if unit >> 8 & 1:
                found.append((position + 1, self._replacement(at)))
        return found

    def _replacement(self, at: int) -> str:
        start = self._units[at] & (_IS_VALUE - 1) if at < len(self._units) else sys.maxsize
        if start >= len(self._replacements):
            raise TokenizerError("the vocabulary's precompiled charsmap is broken")
        end = self._replacements.index(0, start)
        return self._replacements[start:end].decode("utf-8", "replace")


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 1 << 9) >> 6)
