"""What a rule of a grammar is made of."""

from __future__ import annotations

from typing import NamedTuple

Ranges = tuple[tuple[int, int], ...]

LAST_CODE_POINT = 0x10FFFF


class Chars(NamedTuple):
    """One character out of sorted inclusive ranges of code points that do not touch."""

    ranges: Ranges


class Reference(NamedTuple):
    """What another rule matches."""

    name: str


class Sequence(NamedTuple):
    """One expression after the other; no items are the empty text."""

    items: tuple[Expression, ...]


class Choice(NamedTuple):
    """Any of the options."""

    options: tuple[Expression, ...]


class Repeat(NamedTuple):
    """An expression `least` to `most` times; None is no bound."""

    item: Expression
    least: int
    most: int | None


class Once(NamedTuple):
    """The empty text, but at most once for each mark while a rule is being matched.

    A rule that another one ends with shares its marks: it continues the other rule.
    """

    mark: int


class Token(NamedTuple):
    """One token of the vocabulary by its text or id, or any other one that has a text."""

    name: str | int
    negated: bool


Expression = Chars | Reference | Sequence | Choice | Repeat | Once | Token


def merged(ranges: list[tuple[int, int]]) -> Ranges:
    """The same code points as sorted ranges that do not touch."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def inverted(ranges: Ranges) -> Ranges:
    """All other code points."""
    result, start = [], 0
    for low, high in ranges:
        if start < low:
            result.append((start, low - 1))
        start = high + 1
    if start <= LAST_CODE_POINT:
        result.append((start, LAST_CODE_POINT))
    return tuple(result)


def intersection(a: Ranges, b: Ranges) -> Ranges:
    """Return the code points that both have."""
    found = []
    i = j = 0
    while i < len(a) and j < len(b):
        low, high = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if low <= high:
            found.append((low, high))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def in_ranges(ranges: Ranges, code: int) -> bool:
    """Return whether a code point is in sorted ranges."""
    low, high = 0, len(ranges)
    while low < high:
        middle = (low + high) // 2
        if ranges[middle][1] < code:
            low = middle + 1
        else:
            high = middle
    return low < len(ranges) and ranges[low][0] <= code
