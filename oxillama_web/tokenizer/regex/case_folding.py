"""Matching without regard to case: which characters stand for each other.

Most characters have variants of one character, as k, K and the Kelvin sign. Some are equal to two
or three others, as ß to ss. The tables are in unicode_case.py; ASCII alone needs none.
"""

from __future__ import annotations

from functools import cache

from .code_points import ASCII_LIMIT, Ranges, contains, union
from .properties import characters

_MAX_EXPANSION = 3


def variants(ranges: Ranges, limit: int) -> Ranges:
    """Return a set with the variants of its characters; those beyond the limit may be missing."""
    if limit == ASCII_LIMIT and (not ranges or ranges[-1][1] <= ASCII_LIMIT):
        members = "".join(chr(code) for first, last in ranges for code in range(first, last + 1))
        return union([ranges, characters(members.lower() + members.upper())])
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        char = chr(ranges[0][0])
        return characters(_variants().get(char, char))
    found = {chars for char, chars in _variants().items() if contains(ranges, ord(char))}
    return union([ranges, characters("".join(found))])


def expansions(ranges: Ranges) -> list[str]:
    """Return the texts of several characters that are equal to one character of a set."""
    if not ranges or ranges[-1][1] <= ASCII_LIMIT:
        return []
    return sorted({text for char, text in _expansions().items() if contains(ranges, ord(char))})


def expanded_unit(text: str, start: int) -> tuple[int, str]:
    """Return how many characters of a literal text belong together, and what they expand to.

    Those that one character may stand for belong together. The second value is empty if the
    characters, one alone then, have variants of one character only.
    """
    for length in range(_MAX_EXPANSION, 0, -1):
        part = text[start : start + length]
        if len(part) == length and (length > 1 or not part.isascii()):
            expanded = folded(part)
            if len(expanded) > 1 and expanded in _expansions().values():
                return length, expanded
    return 1, ""


def single_characters(expanded: str) -> Ranges:
    """Return the characters that are equal to a text of several."""
    return characters("".join(char for char, text in _expansions().items() if text == expanded))


def folded(text: str) -> str:
    """Return a text in which all that is equal without regard to case is the same."""
    if text.isascii():
        return text.lower()
    return "".join(_expansions().get(char, _folds().get(char, char)) for char in text)


@cache
def _variants() -> dict[str, str]:
    """Return the single characters that a character is equal to, with itself, if there are any."""
    from .unicode_case import CLASSES, PAIRS

    found = [_characters(word) for word in CLASSES.split()]
    for word in PAIRS.split():
        first, distance, step, count = (int(number, 36) for number in word.split(","))
        codes = range(first, first + step * count, step)
        found += [chr(code) + chr(code + distance) for code in codes]
    return {char: chars for chars in found for char in chars}


@cache
def _folds() -> dict[str, str]:
    """Return what stands for all variants of a character: an ASCII letter if there is one."""
    return {
        char: next((other for other in chars if "a" <= other <= "z"), chars[-1])
        for char, chars in _variants().items()
    }


@cache
def _expansions() -> dict[str, str]:
    """Return the texts that characters expand to, in the characters that _folds() gives."""
    from .unicode_case import EXPANSIONS

    words = map(_characters, EXPANSIONS.split())
    return {word[0]: "".join(_folds().get(char, char) for char in word[1:]) for word in words}


def _characters(word: str) -> str:
    return "".join(chr(int(code, 36)) for code in word.split("="))
