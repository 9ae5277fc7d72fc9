r"""Bracket expressions such as [a-z&&[^aeiou]\d]: Oniguruma's, with sets in sets."""

from __future__ import annotations

import re
from typing import Literal

from .case_folding import expansions, variants
from .code_points import LIMIT, Ranges, clipped, complement, intersection, of_character, union
from .properties import named_set
from .scanner import Scanner

_POSIX = re.compile(r"\[:(\^?)([A-Za-z0-9_]{1,20}):\]")
_POSIX_NAMES = frozenset(
    "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".split()
)
_MAX_DEPTH = 50
# anchors and the like, which are letters in brackets
_LETTERS = "ABGKNORXYZgkyz"


def parse_bracket(scanner: Scanner, limit: int, ignore_case: bool) -> tuple[Ranges, list[str]]:
    """Return the set of a bracket expression, and texts that it matches besides.

    Args:
        scanner: the place after the "[".
        limit: the greatest code point that is needed.
        ignore_case: whether variants of its characters match too.
    """
    # with variants, characters beyond the limit matter
    ranges, negated = _Parser(scanner, LIMIT if ignore_case else limit, 0).parse()
    texts: list[str] = []
    if ignore_case:
        ranges = variants(ranges, limit)
        texts = [] if negated else expansions(ranges)
    return clipped(complement(ranges) if negated else ranges, limit), texts


class _Parser:
    """Reads one pair of brackets.

    The state tells what a "-" means: after the start, after a character (then `_pending` is that
    character, which may begin a range), after the "-" of a range, after a class, or after a whole
    range or nested brackets.
    """

    def __init__(self, scanner: Scanner, limit: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise scanner.error("its brackets are nested too deeply")
        self._scanner = scanner
        self._limit = limit
        self._depth = depth
        self._parts: list[Ranges] = []
        self._pending = ""
        self._state: Literal["start", "character", "range", "class", "complete"] = "start"

    def parse(self) -> tuple[Ranges, bool]:
        """Return the set, and whether the brackets match what is not in it."""
        scanner = self._scanner
        negated = scanner.take("^")
        operands: list[Ranges] = []
        if scanner.take("]"):
            if scanner.pattern.find("]", scanner.at) < 0:
                raise scanner.error("a bracket expression is empty")
            self._character("]")
        while not scanner.take("]"):
            if scanner.take("&&"):
                operands.append(self._operand())
            else:
                self._part()
        ranges = self._operand()
        for operand in operands:
            ranges = intersection(operand, ranges)
        return ranges, negated

    def _operand(self) -> Ranges:
        """Return what was read since the last && and begin anew."""
        self._flush()
        ranges = union(self._parts)
        self._parts, self._state = [], "start"
        return ranges

    def _part(self) -> None:
        posix = _POSIX.match(self._scanner.pattern, self._scanner.at)
        if posix:
            self._posix(*posix.groups())
            return
        char = self._scanner.next()
        if char == "[":
            self._flush()
            ranges, negated = _Parser(self._scanner, self._limit, self._depth + 1).parse()
            self._parts.append(complement(ranges) if negated else ranges)
            self._state = "complete"
        elif char == "-":
            self._dash()
        elif char == "\\":
            self._escape(self._scanner.next())
        else:
            self._character(char)

    def _posix(self, negation: str, name: str) -> None:
        """Read [:name:]."""
        self._scanner.at += len(f"[:{negation}{name}:]")
        if name not in _POSIX_NAMES:
            raise self._scanner.error(f"the class [:{name}:] is not known")
        ranges = named_set("posixpunct" if name == "punct" else name, self._limit, in_brackets=True)
        self._class(complement(ranges) if negation else ranges)

    def _dash(self) -> None:
        is_last = self._scanner.peek("]") or self._scanner.peek("&&")
        if self._state == "character" and not is_last:
            self._state = "range"
        elif self._state == "class" and not is_last:
            raise self._scanner.error("a range begins with a class")
        else:
            self._character("-")

    def _escape(self, char: str) -> None:
        ranges = self._scanner.character_class(char, self._limit, in_brackets=True)
        if ranges is not None:
            self._class(ranges)
        elif char == "b":
            self._character("\b")
        elif char in _LETTERS:
            self._character(char)
        else:
            self._character(self._scanner.escaped_character(char))

    def _character(self, char: str) -> None:
        if self._state == "range":
            if self._pending > char:
                raise self._scanner.error(f"the range {self._pending}-{char} is empty")
            self._parts.append(((ord(self._pending), ord(char)),))
            self._state = "complete"
        else:
            self._flush()
            self._pending, self._state = char, "character"

    def _class(self, ranges: Ranges) -> None:
        if self._state == "range":
            raise self._scanner.error("a range ends with a class")
        self._flush()
        self._parts.append(ranges)
        self._state = "class"

    def _flush(self) -> None:
        """Add the pending character; one that began a range without an end is lost."""
        if self._state == "character":
            self._parts.append(of_character(self._pending))
