"""Which bytes may come next: a grammar as a deterministic automaton that is built on demand.

A state is a set of configurations of the grammar's networks, each a node and a stack of nodes to
return to, so it follows all parses of a text at once (the subset construction). Transitions are
computed when they are first needed, and kept in a table that the kernels read too. A node's number
holds the register of its rule as well: register * number of nodes + node.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..backends.logits import StateTable
from ..errors import GrammarError
from .automaton import RETURN, Add, Automaton, Count
from .expressions import Once

# State 0 is dead: no text can continue from it.
DEAD = 0
# Table entries that are not states: kernels mark missing transitions with numbers from MAX_STATES.
UNKNOWN, MAX_STATES = 0xFFFF, 0xFFF0

_MAX_CONFIGURATIONS = 20_000
# nodes between two bytes that only lead to others
_MAX_FORKS = 400_000
_MAX_ENTRIES = 4 << 20
# A matcher with this many states is replaced between two tokens.
_LARGE = 10_000

# a node, and the number of a stack
Configuration = tuple[int, int]


class TokenEdge(NamedTuple):
    """Reads the token `id`, or if `negated` any other one that has a text."""

    id: int
    negated: bool


class Matcher:
    """A growing table of states and transitions.

    Attributes:
        automaton: the grammar.
        tokens: what its nodes read that read whole tokens.
        classes: the class of each byte, uint8 [256].
        n_classes: their number.
        table: the next state for each state and class, uint16 [states * n_classes], or UNKNOWN.
        start: the state in which a text begins.
    """

    def __init__(self, automaton: Automaton, tokens: Mapping[int, TokenEdge]) -> None:
        self.automaton = automaton
        self.tokens = tokens
        self._n_nodes = len(automaton.reads)
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

    def token_edges(self, state: int) -> list[TokenEdge]:
        """Return what reads whole tokens in a state."""
        tokens = self.tokens
        return [tokens[node] for _, node, _ in self._nodes(state) if node in tokens]

    def step_token(self, state: int, token: int, data: bytes) -> int:
        """Return the state after a token, DEAD if it cannot follow.

        Args:
            data: the token's bytes, where bytes are read; none if it is no part of a text.
        """
        after = self.step(state, data) if data else DEAD
        tokens = self.tokens
        found = [
            (self._next(number, node), stack)
            for number, node, stack in (self._nodes(state) if tokens else ())
            if node in tokens and (tokens[node].id == token) != tokens[node].negated
        ]
        if not found:
            return after
        return self._number(self._configurations[after] | self._closure(found))

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
        reads = self.automaton.reads
        bit = 1 << byte_class
        after = [
            (self._next(number, node), stack)
            for number, node, stack in self._nodes(state)
            if reads[node] & bit
        ]
        self.table[entry] = state = self._number(self._closure(after)) if after else DEAD
        return state

    def _nodes(self, state: int) -> Iterator[tuple[int, int, int]]:
        """Yield the number, the node and the stack of each configuration of a state."""
        for number, stack in self._configurations[state]:
            yield number, number % self._n_nodes, stack

    def _next(self, number: int, node: int) -> int:
        """Return the number of what follows a node, in the same rule."""
        target = self.automaton.following[node]
        return target + number - node if target else RETURN

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

        Calls, returns, splits and actions are followed; they read nothing.
        """
        automaton, n_nodes = self.automaton, self._n_nodes
        reads, calls, splits = automaton.reads, automaton.calls, automaton.splits
        tokens = self.tokens
        work = list(configurations)
        seen = set(work)
        found = []
        lowest: dict[Configuration, int] = {}
        while work:
            number, stack = work.pop()
            node = number if number < n_nodes else number % n_nodes
            following: Iterable[Configuration]
            if reads[node] or node in tokens or (node == RETURN and not stack):
                found.append((number, stack))
                if len(found) > _MAX_CONFIGURATIONS:
                    raise _too_ambiguous(_MAX_CONFIGURATIONS)
                continue
            if calls[node] >= 0:
                following = (self._call(node, number - node, stack),)
            elif node == RETURN:
                following = (self._stacks[stack],)
            elif node in automaton.actions:
                following = self._act(node, number // n_nodes, stack, lowest)
            else:
                register = number - node
                following = [(t + register if t else RETURN, stack) for t in splits[node]]
            for configuration in following:
                if configuration not in seen:
                    seen.add(configuration)
                    work.append(configuration)
            if len(seen) > _MAX_FORKS:
                raise _too_ambiguous(_MAX_FORKS)
        return frozenset(found)

    def _call(self, node: int, register: int, stack: int) -> Configuration:
        """Return the beginning of the rule that a node calls.

        Args:
            register: times the number of nodes.
        """
        callee, after = self.automaton.calls[node], self.automaton.following[node]
        if after != RETURN:
            return callee, self._push(after + register, stack)
        # a rule that ends with a call needs no way back
        return (callee + register if callee in self.automaton.marked else callee), stack

    def _act(
        self, node: int, register: int, stack: int, lowest: dict[Configuration, int]
    ) -> list[Configuration]:
        """Return what follows a node that works on the register.

        Args:
            lowest: the lowest counts in this closure at which each repetition may end. What can
                follow a higher count can follow the lowest one too.
        """
        n_nodes, following = self._n_nodes, self.automaton.following[node]
        match self.automaton.actions[node]:
            case Count(least, most):
                targets: list[Configuration] = []
                if register >= least:
                    if lowest.get((node, stack), register + 1) <= register:
                        return []
                    lowest[node, stack] = register
                    targets.append((RETURN, stack))
                if most is None or register < most:
                    shift = register * n_nodes
                    targets += [(item + shift, stack) for item in self.automaton.splits[node]]
                return targets
            case Add(limit):
                return [(following + min(register + 1, limit) * n_nodes, stack)]
            case Once(mark):
                if register >> mark & 1:
                    return []
                register |= 1 << mark
                return [(following + register * n_nodes if following else RETURN, stack)]

    def _push(self, node: int, stack: int) -> int:
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


def _too_ambiguous(most: int) -> GrammarError:
    return GrammarError(
        f"the text can be read in more than {most} ways; make the grammar less ambiguous"
    )
