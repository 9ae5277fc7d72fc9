"""Ranges of code points as sequences of ranges of bytes, as in Rust's regex-syntax (utf8.rs).

https://docs.rs/regex-syntax/latest/regex_syntax/utf8/
"""

from __future__ import annotations

from collections.abc import Iterator

from .expressions import Ranges

ByteRanges = tuple[tuple[int, int], ...]

# the last code point of each encoded length
_LAST = (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)
_SURROGATES = (0xD800, 0xDFFF)


def byte_sequences(ranges: Ranges) -> Iterator[ByteRanges]:
    """Sequences of inclusive byte ranges that match just the UTF-8 of these code points."""
    for low, high in ranges:
        # surrogates have no UTF-8
        yield from _split_by_length(low, min(high, _SURROGATES[0] - 1))
        yield from _split_by_length(max(low, _SURROGATES[1] + 1), high)


def _split_by_length(low: int, high: int) -> Iterator[ByteRanges]:
    first = 0
    for last in _LAST:
        if max(low, first) <= min(high, last):
            yield from _split(max(low, first), min(high, last))
        first = last + 1


def _split(low: int, high: int) -> Iterator[ByteRanges]:
    """Both ends have equally many bytes; each range must span all values of its later bytes."""
    start, end = chr(low).encode(), chr(high).encode()
    for n_later in range(1, len(start)):
        below = (1 << 6 * n_later) - 1
        if low & ~below != high & ~below:
            if low & below:
                yield from _split(low, low | below)
                yield from _split((low | below) + 1, high)
                return
            if high & below != below:
                yield from _split(low, (high & ~below) - 1)
                yield from _split(high & ~below, high)
                return
    yield tuple(zip(start, end, strict=True))
