"""Which bytes may come next: a grammar as a deterministic automaton that is built on demand.

A state is a set of configurations of the grammar's networks, each a node and a stack of nodes to
return to, so it follows all parses of a text at once (the subset construction). Transitions are
computed when they are first needed, and kept in a table that the kernels read too.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from ..backends.logits import StateTable
from ..errors import GrammarError
from .automaton import RETURN, Automaton

# State 0 is dead: no text can continue from it.
DEAD = 0
# Table entries that are not states: kernels mark missing transitions with numbers from MAX_STATES.
UNKNOWN, MAX_STATES = 0xFFFF, 0xFFF0

_MAX_CONFIGURATIONS = 5000
_MAX_ENTRIES = 4 << 20
# A matcher with this many states is replaced between two tokens.
_LARGE = 10_000

# a node, and the number of a stack
Configuration = tuple[int, int]


class Matcher:
    """A growing table of states and transitions.

    Attributes:
        automaton: the grammar.
        classes: the class of each byte, uint8 [256].
        n_classes: their number.
        table: the next state for each state and class, uint16 [states * n_classes], or UNKNOWN.
        start: the state in which a text begins.
    """

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        self.classes = array("B", automaton.classes)
        self.n_classes = automaton.n_classes
        self.table = array("H")
        self._configurations: list[frozenset[Configuration]] = []
        self._numbers: dict[frozenset[Configuration], int] = {}
        # a stack is its top and the stack below; 0 is the empty one
        self._stacks: list[Configuration] = [(RETURN, 0)]
        self._stack_numbers: dict[Configuration, int] = {}
        self._number(frozenset())
        self.start = self._number(self._closure([(automaton.start, 0)]))

    @property
    def n_states(self) -> int:
        """The number of states so far."""
        return len(self._configurations)

    @property
    def is_large(self) -> bool:
        """Whether a new matcher should take this one's place."""
        return self.n_states >= _LARGE

    @property
    def states(self) -> StateTable:
        """The table as `LogitsOps.match_tokens` takes it."""
        return StateTable(self.classes, self.table, self.n_classes, self.n_states)

    def accepts(self, state: int) -> bool:
        """Return whether the text may end in this state."""
        return (RETURN, 0) in self._configurations[state]

    def step(self, state: int, data: bytes) -> int:
        """Return the state after these bytes, DEAD if they cannot follow."""
        table, classes, width = self.table, self.classes, self.n_classes
        for byte in data:
            entry = state * width + classes[byte]
            state = table[entry]
            if state >= MAX_STATES:
                state = self._transition(entry)
            if state == DEAD:
                return DEAD
        return state

    def compute(self, missing: list[int]) -> None:
        """Compute the transitions that kernels found missing and marked, by their table index."""
        for entry in missing:
            # an error must not leave a mark: the kernels would wait for this transition forever
            self.table[entry] = UNKNOWN
        for entry in missing:
            self._transition(entry)

    def remap(self, other: Matcher, state: int) -> int:
        """Return the number here of a state of another matcher of the same grammar."""
        return self._number(
            frozenset(
                (node, self._stack(other._unwind(stack)))
                for node, stack in other._configurations[state]
            )
        )

    def _transition(self, entry: int) -> int:
        """Compute one entry of the table."""
        state, byte_class = divmod(entry, self.n_classes)
        reads, following = self.automaton.reads, self.automaton.following
        bit = 1 << byte_class
        after = [
            (following[node], stack)
            for node, stack in self._configurations[state]
            if reads[node] & bit
        ]
        number = self._number(self._closure(after)) if after else DEAD
        self.table[entry] = number
        return number

    def _number(self, configurations: frozenset[Configuration]) -> int:
        """Return the number of a state, which is new if it was never met."""
        number = self._numbers.get(configurations)
        if number is None:
            width = self.n_classes
            number = len(self._configurations)
            if number >= MAX_STATES or (number + 1) * width > _MAX_ENTRIES:
                raise GrammarError(
                    "a token can go on in too many ways; lower the grammar's repetitions, or make "
                    "it less ambiguous"
                )
            self._numbers[configurations] = number
            self._configurations.append(configurations)
            self.table.extend([UNKNOWN if configurations else DEAD] * width)
        return number

    def _closure(self, configurations: Iterable[Configuration]) -> frozenset[Configuration]:
        """Return the configurations that these lead to, which read a byte next or are at the end.

        Calls, returns and splits are followed; they read nothing.
        """
        automaton = self.automaton
        reads, calls, splits = automaton.reads, automaton.calls, automaton.splits
        work = list(configurations)
        seen = set(work)
        found = []
        while work:
            node, stack = work.pop()
            if reads[node]:
                found.append((node, stack))
                continue
            following: Iterable[Configuration]
            if calls[node] >= 0:
                following = ((calls[node], self._push(automaton.following[node], stack)),)
            elif node != RETURN:
                following = [(target, stack) for target in splits[node]]
            elif stack:
                following = (self._stacks[stack],)
            else:
                found.append((node, stack))
                continue
            for configuration in following:
                if configuration not in seen:
                    seen.add(configuration)
                    work.append(configuration)
            if len(seen) > _MAX_CONFIGURATIONS:
                raise GrammarError(
                    f"the text can be read in more than {_MAX_CONFIGURATIONS} ways; make the "
                    f"grammar less ambiguous"
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

    def _unwind(self, stack: int) -> list[int]:
        """Return a stack's nodes, the top first."""
        nodes = []
        while stack:
            node, stack = self._stacks[stack]
            nodes.append(node)
        return nodes

    def _stack(self, nodes: list[int]) -> int:
        """Return the number of the stack of these nodes, the top first."""
        stack = 0
        for node in reversed(nodes):
            stack = self._push(node, stack)
        return stack
