"""Sets of code points: ranges as pairs of first and last code point, ascending and disjoint."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

ASCII_LIMIT, BMP_LIMIT, LIMIT = 0x7F, 0xFFFF, 0x10FFFF

Ranges = tuple[tuple[int, int], ...]

ANY: Ranges = ((0, LIMIT),)


def of_character(char: str) -> Ranges:
    """Return the set of one character."""
    return ((ord(char), ord(char)),)


def union(sets: Iterable[Ranges]) -> Ranges:
    """Return the code points that are in any of the sets."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pair for ranges in sets for pair in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Return all code points that are not in the set."""
    starts = [0, *(last + 1 for _, last in ranges)]
    ends = [*(first - 1 for first, _ in ranges), LIMIT]
    return tuple(gap for gap in zip(starts, ends, strict=True) if gap[0] <= gap[1])


def intersection(one: Ranges, other: Ranges) -> Ranges:
    """Return the code points that are in both sets."""
    return complement(union([complement(one), complement(other)]))


def contains(ranges: Ranges, code_point: int) -> bool:
    """Return whether a code point is in the set."""
    index = bisect_right(ranges, (code_point, LIMIT)) - 1
    return index >= 0 and code_point <= ranges[index][1]


def clipped(ranges: Ranges, limit: int) -> Ranges:
    """Return the code points of the set up to a limit."""
    if not ranges or ranges[-1][1] <= limit:
        return ranges
    return tuple((first, min(last, limit)) for first, last in ranges if first <= limit)
