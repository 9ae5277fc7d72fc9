"""Writes patterns for Python's re, which is much faster than matching.py.

Python's re has no Unicode properties, and its classes follow other definitions, so each set is
written out as ranges.
"""

from __future__ import annotations

from .code_points import Ranges, clipped, complement
from .nodes import (
    Anchor,
    Atomic,
    Choice,
    Group,
    Look,
    Node,
    Place,
    Reference,
    Repeat,
    Sequence,
    Set,
    lengths,
)

_SUFFIXES = {"greedy": "", "lazy": "?", "possessive": "+"}
_COUNTS = {(0, None): "*", (1, None): "+", (0, 1): "?"}
_ANCHORS: dict[Place, str] = {
    "A": r"\A",
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    # where re.MULTILINE sees a line's start; an empty last line has none
    "^": r"(?:^(?:(?!\Z)|\A))",
    "$": r"(?=\n|\Z)",
}


def translate(node: Node, limit: int) -> str | None:
    """Return a pattern for Python's re with the flag MULTILINE.

    Args:
        node: what it shall match.
        limit: the greatest code point of the texts.

    Returns:
        The pattern; None if Python's re cannot match the same.
    """
    try:
        return _Translator(limit).written(node)
    except _UntranslatableError:
        return None


class _UntranslatableError(Exception):
    """Python's re lacks something, or understands it in another way."""


class _Translator:
    def __init__(self, limit: int) -> None:
        self._limit = limit

    def written(self, node: Node) -> str:
        """Return a pattern that may be followed by others."""
        if isinstance(node, Set):
            return self._set(node.ranges)
        if isinstance(node, Sequence):
            return "".join(map(self.written, node.items))
        if isinstance(node, Choice):
            return f"(?:{'|'.join(map(self.written, node.branches))})"
        if isinstance(node, Group):
            return self.written(node.body)
        if isinstance(node, Repeat):
            return self._repeat(node)
        if isinstance(node, Atomic):
            return f"(?>{self.written(node.body)})"
        if isinstance(node, Look):
            return self._look(node)
        if isinstance(node, Anchor):
            return self._anchor(node)
        assert isinstance(node, Reference)
        raise _UntranslatableError

    def _repeat(self, node: Repeat) -> str:
        if node.high != 1 and lengths(node.body)[0] == 0:
            raise _UntranslatableError  # re ends such loops at other places
        body = self.written(node.body)
        if not isinstance(node.body, (Set, Choice, Atomic)):
            body = f"(?:{body})"
        high = "" if node.high is None else node.high
        count = _COUNTS.get((node.low, node.high), f"{{{node.low},{high}}}")
        return body + count + _SUFFIXES[node.mode]

    def _look(self, node: Look) -> str:
        low, high = lengths(node.body)
        if node.behind and low != high:
            raise _UntranslatableError
        sign = ("<" if node.behind else "") + ("!" if node.negative else "=")
        return f"(?{sign}{self.written(node.body)})"

    def _anchor(self, node: Anchor) -> str:
        if node.place == "G":
            raise _UntranslatableError
        if node.place not in ("b", "B"):
            return _ANCHORS[node.place]
        word = self._set(node.word)
        if node.place == "b":
            return f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))"
        return f"(?:(?<={word})(?={word})|(?<!{word})(?!{word}))"

    def _set(self, ranges: Ranges) -> str:
        others = clipped(complement(ranges), self._limit)
        if not ranges:
            return "(?!)"
        if not others:
            return "(?s:.)"
        if others == ((0x0A, 0x0A),):
            return "."
        if len(others) < len(ranges):
            return f"[^{_body(others)}]"
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
            return _literal(chr(ranges[0][0]))
        return f"[{_body(ranges)}]"


def _body(ranges: Ranges) -> str:
    """Return the ranges as they are written between brackets."""
    return "".join(
        _literal(chr(first)) + ("" if first == last else "-" + _literal(chr(last)))
        for first, last in ranges
    )


def _literal(char: str) -> str:
    return char if char.isalnum() or not char.isascii() else f"\\x{ord(char):02x}"
