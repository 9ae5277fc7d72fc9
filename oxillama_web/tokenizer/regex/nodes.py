"""What a pattern means: a tree of the nodes below.

The parser (parser.py) has resolved everything that depends on Unicode or on options: sets are sets
of code points, and a letter that is matched without regard to case is the set of its variants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .code_points import Ranges

Mode = Literal["greedy", "lazy", "possessive"]
# Positions: the text's start and end, its end or before the newline there, after and before a
# newline, where words begin or end or do not, and where the search began.
Place = Literal["A", "z", "Z", "^", "$", "b", "B", "G"]


@dataclass(frozen=True, slots=True)
class Set:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; without items, nothing."""

    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the branches; the first that lets the rest match."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A node `low` to `high` times; `high` None is without limit."""

    body: Node
    low: int
    high: int | None
    mode: Mode = "greedy"


@dataclass(frozen=True, slots=True)
class Group:
    """A capturing group, which a back-reference may name."""

    number: int
    body: Node


@dataclass(frozen=True, slots=True)
class Atomic:
    """A node whose first match is final: (?>...)."""

    body: Node


@dataclass(frozen=True, slots=True)
class Look:
    """What must, or must not, lie ahead of a position or behind it."""

    body: Node
    behind: bool
    negative: bool


@dataclass(frozen=True, slots=True)
class Anchor:
    """A position in the text; `word` is the set of characters of words, for "b" and "B"."""

    place: Place
    word: Ranges = ()


@dataclass(frozen=True, slots=True)
class Reference:
    r"""The text that a group has matched: \1."""

    group: int
    ignore_case: bool


Node = Set | Sequence | Choice | Repeat | Group | Atomic | Look | Anchor | Reference


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes that a node is made of."""
    if isinstance(node, Sequence):
        return node.items
    if isinstance(node, Choice):
        return node.branches
    if isinstance(node, (Repeat, Group, Atomic, Look)):
        return (node.body,)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def lengths(node: Node) -> tuple[int, int | None]:
    """Return the least and the greatest number of characters that a node matches.

    The greatest is None if there is no limit.
    """
    if isinstance(node, Set):
        return 1, 1
    if isinstance(node, (Look, Anchor)):
        return 0, 0
    if isinstance(node, Reference):
        return 0, None
    if isinstance(node, (Group, Atomic)):
        return lengths(node.body)
    if isinstance(node, Repeat):
        low, high = lengths(node.body)
        return low * node.low, None if high is None or node.high is None else high * node.high
    parts = list(map(lengths, children(node)))
    greatest = [high for _, high in parts if high is not None]
    unlimited = len(greatest) < len(parts)
    if isinstance(node, Choice):
        return min(low for low, _ in parts), None if unlimited else max(greatest)
    return sum(low for low, _ in parts), None if unlimited else sum(greatest)
