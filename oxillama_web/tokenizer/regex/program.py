"""Programs: patterns as lists of instructions, which matching.py runs."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from ...errors import TokenizerError
from .code_points import Ranges, contains
from .nodes import (
    Anchor,
    Choice,
    Group,
    Look,
    Node,
    Reference,
    Repeat,
    Sequence,
    Set,
    lengths,
    walk,
)

_MAX_LENGTH = 10_000
_MAX_CACHED = 10_000

# What a state has besides its place in program and text, empty for most patterns: for each loop
# whose body may match nothing, whether its current round has matched something; where each group
# that is referred to begins and ends. -1 is nowhere.
Memory = tuple[int, ...]


class Op(Enum):
    """What an instruction does, and what its two operands are."""

    END = auto()  # the program has matched
    SET = auto()  # one character: Members
    SPLIT = auto()  # try several places in turn: their addresses
    GOTO = auto()  # an address
    SAVE = auto()  # remember the place in the text: a slot of the memory
    BEGIN_ROUND = auto()  # of a loop: the slot of its flag
    END_ROUND = auto()  # the slot; the addresses of the next round and of what follows the loop
    CALL = auto()  # Look, or None for a group whose first match is final; the addresses of its
    # program and of what follows
    ANCHOR = auto()  # Anchor; Members of words
    REFERENCE = auto()  # the first of a group's slots; whether case does not matter


# operation and operands
Instruction = tuple[Op, Any, Any]


class Members(dict[str, bool]):
    """Whether a character is in a set; filled by the characters that were asked for."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self._ranges = ranges

    def __missing__(self, char: str) -> bool:
        if len(self) >= _MAX_CACHED:
            self.clear()
        found = self[char] = contains(self._ranges, ord(char))
        return found


class Program:
    """The instructions of a pattern.

    Attributes:
        code: the instructions; the pattern's begin at 0.
        memory: what a state has at the start.
        n_flags: how many values at the start of the memory are the flags of loops.
        has_search_start: whether it asks where a search began (\\G).

    Raises:
        TokenizerError: the pattern is too large.
    """

    def __init__(self, node: Node, pattern: str) -> None:
        """`pattern` is what an error names it by."""
        parts = list(walk(node))
        loops = [part for part in parts if isinstance(part, Repeat) and _may_stand_still(part)]
        groups = sorted({part.group for part in parts if isinstance(part, Reference)})
        self.code: list[Instruction] = []
        self.n_flags = len(loops)
        self.memory: Memory = (1,) * self.n_flags + (-1,) * 2 * len(groups)
        self.has_search_start = Anchor("G") in parts
        self._pattern = pattern
        self._flag_slots = {id(loop.body): slot for slot, loop in enumerate(loops)}
        self._group_slots = {group: self.n_flags + 2 * i for i, group in enumerate(groups)}
        self._members: dict[Ranges, Members] = {}
        self._add(node)
        self._emit(Op.END)

    def _emit(self, op: Op, one: Any = None, other: Any = None) -> int:
        if len(self.code) >= _MAX_LENGTH:
            raise TokenizerError(
                f"the vocabulary's pattern {self._pattern!r} cannot be used: it is too large"
            )
        self.code.append((op, one, other))
        return len(self.code) - 1

    def _add(self, node: Node) -> None:
        if isinstance(node, Set):
            self._emit(Op.SET, self._members_of(node.ranges))
        elif isinstance(node, Sequence):
            for item in node.items:
                self._add(item)
        elif isinstance(node, Choice):
            self._add_choice(node)
        elif isinstance(node, Repeat):
            if node.mode == "possessive":
                self._add_called(None, Repeat(node.body, node.low, node.high))
            else:
                self._add_rounds(node)
        elif isinstance(node, Group):
            self._add_group(node)
        elif isinstance(node, Anchor):
            self._emit(Op.ANCHOR, node, self._members_of(node.word))
        elif isinstance(node, Reference):
            self._emit(Op.REFERENCE, self._group_slots[node.group], node.ignore_case)
        else:
            self._add_called(node if isinstance(node, Look) else None, node.body)

    def _members_of(self, ranges: Ranges) -> Members:
        return self._members.setdefault(ranges, Members(ranges))

    def _add_group(self, node: Group) -> None:
        slot = self._group_slots.get(node.number)
        if slot is not None:
            self._emit(Op.SAVE, slot)
        self._add(node.body)
        if slot is not None:
            self._emit(Op.SAVE, slot + 1)

    def _add_called(self, look: Look | None, body: Node) -> None:
        """Add a program of its own after an instruction that runs it."""
        call = self._emit(Op.CALL)
        self._add(body)
        self.code[call] = (Op.CALL, look, (call + 1, self._emit(Op.END) + 1))

    def _add_choice(self, node: Choice) -> None:
        split = self._emit(Op.SPLIT)
        starts, ends = [], []
        for branch in node.branches:
            starts.append(len(self.code))
            self._add(branch)
            ends.append(self._emit(Op.GOTO))
        self.code[split] = (Op.SPLIT, tuple(starts), None)
        for end in ends:
            self.code[end] = (Op.GOTO, len(self.code), None)

    def _add_rounds(self, node: Repeat) -> None:
        for _ in range(node.low):
            self._add(node.body)
        splits = []
        if node.high is None:
            splits.append(self._emit(Op.SPLIT))
            self._add_round(node, splits[0])
        else:
            for _ in range(node.high - node.low):
                splits.append(self._emit(Op.SPLIT))
                self._add(node.body)
        after = len(self.code)
        for split in splits:
            goto = (after, split + 1) if node.mode == "lazy" else (split + 1, after)
            self.code[split] = (Op.SPLIT, goto, None)

    def _add_round(self, node: Repeat, split: int) -> None:
        slot = self._flag_slots.get(id(node.body))
        if slot is None:
            self._add(node.body)
            self._emit(Op.GOTO, split)
            return
        self._emit(Op.BEGIN_ROUND, slot)
        self._add(node.body)
        end = self._emit(Op.END_ROUND)
        self.code[end] = (Op.END_ROUND, slot, (split, end + 1))


def _may_stand_still(loop: Repeat) -> bool:
    """Return whether a loop has no end, and its body may match nothing."""
    return loop.high is None and lengths(loop.body)[0] == 0
