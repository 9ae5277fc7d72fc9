"""Tells whether a backtracking engine matches a pattern in a reasonable time, whatever the text.

Where a text can be read in many ways, as "aaaa" by (a|a)*b, such an engine (Python's re, Oniguruma)
tries them all before it gives up. What is allowed here takes at most the text's length times the
length of a run in it, such as a word. The rules err on the safe side.
"""

from __future__ import annotations

from .code_points import Ranges, contains, intersection, union
from .nodes import (
    Anchor,
    Atomic,
    Choice,
    Group,
    Look,
    Node,
    Reference,
    Repeat,
    Sequence,
    Set,
    children,
)

# ways to match at one place, apart from how often loops run
_MAX_WAYS = 200
# of more repetitions, the ways are not counted
_MAX_COUNTED = 16


def is_quick(node: Node) -> bool:
    """Return whether no text has many ways to match at one place, or not to match."""
    try:
        ways, n_loops = _ways(node, may_fail=False)
    except _AmbiguousError:
        return False
    return ways <= _MAX_WAYS and n_loops <= 1


class _AmbiguousError(Exception):
    """A loop can read a text in more than one way."""


def _ways(node: Node, may_fail: bool) -> tuple[int, int]:
    """Return the number of ways to match at one place, and of loops that may run in vain.

    Args:
        node: what to match.
        may_fail: whether what follows can fail.
    """
    if isinstance(node, Sequence):
        ways, n_loops = 1, 0
        for item in reversed(node.items):
            more_ways, more_loops = _ways(item, may_fail)
            ways, n_loops = ways * more_ways, n_loops + more_loops
            may_fail = may_fail or _can_fail(item)
        return ways, n_loops
    if isinstance(node, Choice):
        found = [_ways(branch, may_fail) for branch in node.branches]
        return sum(ways for ways, _ in found), max(n_loops for _, n_loops in found)
    if isinstance(node, (Group, Atomic)):
        return _ways(node.body, may_fail)
    if isinstance(node, Look):
        return _ways(node.body, may_fail=True)
    if isinstance(node, Repeat):
        return _ways_to_repeat(node, may_fail)
    assert isinstance(node, (Set, Anchor, Reference))
    return 1, 0


def _ways_to_repeat(node: Repeat, may_fail: bool) -> tuple[int, int]:
    if node.low <= 1 and not may_fail:
        return _ways(node.body, may_fail)  # each round is the last word on its text
    ways, n_loops = _ways(node.body, may_fail=True)
    if node.high is not None and n_loops == 0 and (ways == 1 or node.high <= _MAX_COUNTED):
        counted = ways**node.high * (node.high - node.low + 1)
        if counted <= _MAX_WAYS:
            return counted, 0
    first, nullable = _first(node.body)
    if nullable or not _is_deterministic(node.body, first):
        raise _AmbiguousError
    if may_fail and _spans_words(node.body):
        raise _AmbiguousError  # from each place it would run to the end of the text
    return 1, int(may_fail)


def _spans_words(node: Node) -> bool:
    """Return whether a loop can take words and the spaces between them."""
    ranges = _members(node)
    return contains(ranges, ord("e")) and contains(ranges, ord(" "))


def _members(node: Node) -> Ranges:
    """Return the characters that a node can take."""
    if isinstance(node, Set):
        return node.ranges
    return () if isinstance(node, Look) else union(map(_members, children(node)))


def _can_fail(node: Node) -> bool:
    if isinstance(node, Sequence):
        return any(map(_can_fail, node.items))
    if isinstance(node, Choice):
        return all(map(_can_fail, node.branches))
    if isinstance(node, (Group, Atomic)):
        return _can_fail(node.body)
    if isinstance(node, Repeat):
        return node.low > 0 and _can_fail(node.body)
    return True


def _first(node: Node) -> tuple[Ranges, bool]:
    """Return with which characters a match can begin, and whether it can be empty."""
    if isinstance(node, Set):
        return node.ranges, False
    if isinstance(node, Sequence):
        sets = []
        for item in node.items:
            ranges, nullable = _first(item)
            sets.append(ranges)
            if not nullable:
                return union(sets), False
        return union(sets), True
    if isinstance(node, Choice):
        found = list(map(_first, node.branches))
        return union(ranges for ranges, _ in found), any(nullable for _, nullable in found)
    if isinstance(node, (Group, Atomic)):
        return _first(node.body)
    if isinstance(node, Repeat):
        ranges, nullable = _first(node.body)
        return ranges, nullable or node.low == 0
    return (), True


def _is_deterministic(node: Node, follow: Ranges) -> bool:
    """Return whether the next character decides how to go on.

    Args:
        node: a part of a loop.
        follow: with which characters what comes after it can begin.
    """
    if isinstance(node, Sequence):
        for item in reversed(node.items):
            if not _is_deterministic(item, follow):
                return False
            ranges, nullable = _first(item)
            follow = union([ranges, follow]) if nullable else ranges
        return True
    if isinstance(node, Choice):
        found = [_first(branch) for branch in node.branches]
        firsts = [union([ranges, follow]) if nullable else ranges for ranges, nullable in found]
        disjoint = sum(map(_size, firsts)) == _size(union(firsts))
        return disjoint and all(_is_deterministic(branch, follow) for branch in node.branches)
    if isinstance(node, (Group, Atomic)):
        return _is_deterministic(node.body, follow)
    if isinstance(node, Repeat):
        first, nullable = _first(node.body)
        if nullable or (node.low != node.high and intersection(first, follow)):
            return False
        return _is_deterministic(node.body, follow if node.high == 1 else union([first, follow]))
    if isinstance(node, Look):
        return _ways(node.body, may_fail=True)[1] == 0
    return True


def _size(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)
