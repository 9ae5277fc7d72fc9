"""Which bytes may follow: all parses of a text at once, as a deterministic automaton that grows.

A state is a set of parses: a node and a stack of nodes to return to. Steps are computed when they
are first needed, and kept in a table that the kernels read too.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from ..backends.logits import StateTable
from ..errors import GrammarError
from .automaton import RETURN, Automaton

# what the table holds beside states
DEAD, UNKNOWN = 0, 0xFFFF
MOST_STATES = 0xFFF0

_MOST_PARSES = 5000
_MOST_ENTRIES = 4 << 20
# so many states before a matcher is renewed between two tokens
_RENEWED_AT = 10_000

Parse = tuple[int, int]


class Matcher:
    """States by number, from 1 on; 0 is the one where no text can go on.

    Attributes:
        automaton: the grammar.
        classes, n_classes: the class of each byte, uint8 [256], and their number.
        table: the next state for each state and class of bytes, [states * n_classes] of uint16,
            or UNKNOWN.
    """

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        self.classes = array("B", automaton.classes)
        self.n_classes = automaton.n_classes
        self.table = array("H")
        self._parses: list[frozenset[Parse]] = []
        self._numbers: dict[frozenset[Parse], int] = {}
        # a stack is its top and the stack below; 0 is the empty one
        self._stacks: list[Parse] = [(RETURN, 0)]
        self._stack_numbers: dict[Parse, int] = {}
        self._number(frozenset())
        self.start = self._number(self._closure([(automaton.start, 0)]))

    @property
    def n_states(self) -> int:
        """How many states there are by now."""
        return len(self._parses)

    @property
    def states(self) -> StateTable:
        """The table as the kernels read it."""
        return StateTable(self.classes, self.table, self.n_classes, self.n_states)

    def accepts(self, state: int) -> bool:
        """Whether the text may end here."""
        return (RETURN, 0) in self._parses[state]

    def walk(self, state: int, data: bytes) -> int:
        """The state behind these bytes, 0 if they cannot follow."""
        table, classes, width = self.table, self.classes, self.n_classes
        for byte in data:
            entry = state * width + classes[byte]
            state = table[entry]
            if state >= MOST_STATES:
                state = self.fill(entry)
            if state == DEAD:
                return DEAD
        return state

    def fill(self, entry: int) -> int:
        """Computes an entry of the table."""
        state, byte_class = divmod(entry, self.n_classes)
        reads, following = self.automaton.reads, self.automaton.following
        bit = 1 << byte_class
        behind = [
            (following[node], stack) for node, stack in self._parses[state] if reads[node] & bit
        ]
        number = self._number(self._closure(behind)) if behind else DEAD
        self.table[entry] = number
        return number

    @property
    def is_large(self) -> bool:
        """Whether a new matcher should take its place."""
        return self.n_states >= _RENEWED_AT

    def adopt(self, other: Matcher, state: int) -> int:
        """The number that a state of another matcher of this grammar has here."""
        return self._number(
            frozenset(
                (node, self._stack(other._unwound(stack))) for node, stack in other._parses[state]
            )
        )

    def fill_all(self, entries: list[int]) -> None:
        """Computes entries that kernels have met and marked; none of them stays marked."""
        for entry in entries:
            self.table[entry] = UNKNOWN
        for entry in entries:
            self.fill(entry)

    def _number(self, parses: frozenset[Parse]) -> int:
        number = self._numbers.get(parses)
        if number is None:
            width = self.n_classes
            number = len(self._parses)
            if number >= MOST_STATES or (number + 1) * width > _MOST_ENTRIES:
                raise GrammarError(
                    "a token can go on in too many ways; lower the grammar's repetitions, or make "
                    "it less ambiguous"
                )
            self._numbers[parses] = number
            self._parses.append(parses)
            self.table.extend([UNKNOWN if parses else DEAD] * width)
        return number

    def _closure(self, parses: Iterable[Parse]) -> frozenset[Parse]:
        """The parses that read a byte next, or are at the end."""
        automaton = self.automaton
        reads, calls, splits = automaton.reads, automaton.calls, automaton.splits
        work = list(parses)
        seen = set(work)
        found = []
        while work:
            node, stack = work.pop()
            if reads[node]:
                found.append((node, stack))
                continue
            following: Iterable[Parse]
            if calls[node] >= 0:
                following = ((calls[node], self._push(automaton.following[node], stack)),)
            elif node != RETURN:
                following = [(target, stack) for target in splits[node]]
            elif stack:
                following = (self._stacks[stack],)
            else:
                found.append((node, stack))
                continue
            for parse in following:
                if parse not in seen:
                    seen.add(parse)
                    work.append(parse)
            if len(seen) > _MOST_PARSES:
                raise GrammarError(
                    f"the text can be read in more than {_MOST_PARSES} ways; make the grammar "
                    f"less ambiguous"
                )
        return frozenset(found)

    def _push(self, node: int, stack: int) -> int:
        # a rule that ends with a call needs no way back
        if node == RETURN:
            return stack
        number = self._stack_numbers.get((node, stack))
        if number is None:
            number = self._stack_numbers[node, stack] = len(self._stacks)
            self._stacks.append((node, stack))
        return number

    def _unwound(self, stack: int) -> list[int]:
        nodes = []
        while stack:
            node, stack = self._stacks[stack]
            nodes.append(node)
        return nodes

    def _stack(self, nodes: list[int]) -> int:
        stack = 0
        for node in reversed(nodes):
            stack = self._push(node, stack)
        return stack
