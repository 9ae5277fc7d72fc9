"""Arrays of strings in a GGUF header: each string is its length, a little-endian uint64, and bytes.

A vocabulary has some hundred thousand of them. Kernels walk over those in a millisecond, where
Python takes thirty or, in a browser, a hundred.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

# With fewer strings than this the kernels are not worth a call.
_MIN_STRINGS = 256
# Bytes of the header that are copied for the kernels at a time.
_WINDOW_BYTES = 1 << 18


class StringKernels(Protocol):
    """What a backend offers to read strings faster."""

    def skip(self, data: bytes, count: int) -> tuple[int, int]:
        """Return how many strings, at most `count`, are whole at the start of `data`.

        Also return the bytes that they take.
        """

    def join(self, data: bytes, n_bytes: int, count: int) -> memoryview | None:
        """Return the bytes of `count` strings with a zero between them; None if one has a zero.

        Args:
            n_bytes: what these strings take at the start of `data`.
        """


def skip(
    view: memoryview, start: int, count: int, kernels: StringKernels | None
) -> tuple[int, int]:
    """Walk over the strings at `start`.

    Returns:
        How many of them, at most `count`, are whole in `view`, and where the last of those ends.
    """
    found, position = 0, start
    for _, n_strings, n_bytes in _windows(view, start, count, kernels):
        found, position = found + n_strings, position + n_bytes
    read_length = struct.Struct("<Q").unpack_from
    for index in range(found, count):
        if position + 8 > len(view):
            return index, position
        end = position + 8 + read_length(view, position)[0]
        if end > len(view):
            return index, position
        position = end
    return count, position


def decode(
    view: memoryview, start: int, end: int, count: int, kernels: StringKernels | None
) -> list[str]:
    """Return the strings from `start` to `end`.

    Bytes that are not UTF-8 become lone surrogates (the error handler "surrogateescape").
    """
    strings: list[str] = []
    for window, n_strings, n_bytes in _windows(view[:end], start, count, kernels):
        joined = kernels.join(window, n_bytes, n_strings) if kernels else None
        if joined is None:
            break
        strings += str(joined, "utf-8", "surrogateescape").split("\0")
        start += n_bytes
    return strings + _decode_slowly(bytes(view[start:end]), count - len(strings))


def _windows(
    view: memoryview, start: int, count: int, kernels: StringKernels | None
) -> Iterator[tuple[bytes, int, int]]:
    """Yield consecutive parts, with the number of whole strings at their start and their bytes.

    Stops before the first string that is not whole in `view` or in a window.
    """
    if kernels is None or count < _MIN_STRINGS:
        return
    while count > 0:
        window = bytes(view[start : start + _WINDOW_BYTES])
        n_strings, n_bytes = kernels.skip(window, count)
        if n_strings == 0:
            return
        yield window, n_strings, n_bytes
        count, start = count - n_strings, start + n_bytes


def _decode_slowly(data: bytes, count: int) -> list[str]:
    read_length = struct.Struct("<Q").unpack_from
    strings = []
    position = 0
    for _ in range(count):
        start = position + 8
        position = start + read_length(data, position)[0]
        strings.append(data[start:position].decode(errors="surrogateescape"))
    return strings
