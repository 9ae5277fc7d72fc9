"""Deterministic automata over characters, and their combinations.

A machine knows its states only as values and computes one step at a time, so that intersections and
complements cost nothing until `explore` lists the states that can be reached.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

from ...errors import GrammarError
from ..expressions import LAST_CODE_POINT, Ranges, in_ranges, intersection, inverted, merged

# What a machine has states for. None is the dead state, which accepts nothing.
State = Hashable | None

MAX_STATES = 15_000
_SURROGATES = (0xD800, 0xDFFF)


class Machine(Protocol):
    """A deterministic automaton over code points."""

    @property
    def start(self) -> State:
        """The state before the first character."""

    @property
    def sets(self) -> Iterable[Ranges]:
        """The sets of characters that it tells apart."""

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""

    def label(self, state: State) -> Hashable:
        """Return what is true of a text that ends here; False if the text is not accepted."""


class Product:
    """What all of some machines accept."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines
        self.start: State = _none_if_dead(tuple(machine.start for machine in machines))
        self.sets = [ranges for machine in machines for ranges in machine.sets]

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        found = []
        for machine, part in zip(self._machines, state, strict=True):
            part = machine.step(part, code)
            if part is None:
                return None
            found.append(part)
        return tuple(found)

    def label(self, state: State) -> Hashable:
        """Return the label of the last machine if all accept."""
        assert isinstance(state, tuple)
        found: Hashable = True
        for machine, part in zip(self._machines, state, strict=True):
            found = machine.label(part)
            if found is False:
                return False
        return found


class Complement:
    """What a machine does not accept."""

    _DEAD = ("dead",)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.start: State = self._DEAD if machine.start is None else machine.start
        self.sets = machine.sets

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        if state == self._DEAD:
            return state
        found = self._machine.step(state, code)
        return self._DEAD if found is None else found

    def label(self, state: State) -> Hashable:
        """Return whether the machine does not accept."""
        return state == self._DEAD or self._machine.label(state) is False


class Words:
    """A finite set of texts, as a tree of their characters."""

    def __init__(self, words: Iterable[str]) -> None:
        self._children: list[dict[int, int]] = [{}]
        self._ends: set[int] = set()
        for word in words:
            at = 0
            for code in map(ord, word):
                child = self._children[at].setdefault(code, len(self._children))
                if child == len(self._children):
                    self._children.append({})
                at = child
            self._ends.add(at)
        codes = sorted({code for children in self._children for code in children})
        self.start: State = 0
        self.sets = [((code, code),) for code in codes]

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, int)
        return self._children[state].get(code)

    def label(self, state: State) -> Hashable:
        """Return whether this is one of the texts."""
        return state in self._ends


class Dfa(NamedTuple):
    """A machine's states by number, 0 the start; each can lead to an end.

    Attributes:
        steps: for each state, the next states with the characters that lead there.
        labels: for each state, what is true of a text that ends there, or False.
    """

    steps: list[dict[int, Ranges]]
    labels: list[Hashable]


def explore(machine: Machine, alphabet: Ranges, what: str) -> Dfa | None:
    """Return all states of a machine that are on the way from its start to an end; None if none is.

    Args:
        alphabet: the only characters that texts have.
        what: names the machine in errors.

    Raises:
        GrammarError: there are too many.
    """
    if machine.start is None:
        return None
    groups = _character_groups(machine.sets, alphabet)
    numbers: dict[State, int] = {machine.start: 0}
    states = [machine.start]
    steps: list[dict[int, list[tuple[int, int]]]] = []
    for state in states:  # grows
        found: dict[int, list[tuple[int, int]]] = {}
        for group in groups:
            target = machine.step(state, group[0][0])
            if target is None:
                continue
            number = numbers.setdefault(target, len(states))
            if number == len(states):
                states.append(target)
                if number >= MAX_STATES:
                    raise GrammarError(f"{what} needs more than {MAX_STATES} states")
            found.setdefault(number, []).extend(group)
        steps.append(found)
    labels = [machine.label(state) for state in states]
    return _trimmed(steps, labels)


def all_but(words: Iterable[str], alphabet: Ranges, label: Hashable) -> Dfa:
    """Return what accepts all texts of an alphabet but some.

    Args:
        label: of all that is accepted.
    """
    # 0 is the start, 1 what is no beginning of a word
    steps: list[dict[int, int]] = [{}, {}]
    ends = set()
    for word in words:
        at = 0
        for code in map(ord, word):
            child = steps[at].setdefault(code, len(steps))
            if child == len(steps):
                steps.append({})
            at = child
        ends.add(at)
    found: list[dict[int, Ranges]] = []
    for children in steps:
        taken = merged([(code, code) for code in children])
        own = {
            child: ((code, code),) for code, child in children.items() if in_ranges(alphabet, code)
        }
        found.append({1: _others(taken, alphabet), **own})
    labels = [False if state in ends else label for state in range(len(steps))]
    return Dfa(found, labels)


@lru_cache(4096)
def _others(taken: Ranges, alphabet: Ranges) -> Ranges:
    """The alphabet without some characters."""
    return intersection(inverted(taken), alphabet)


def accepts(machine: Machine, text: str) -> bool:
    """Return whether a machine accepts a text."""
    state = machine.start
    for code in map(ord, text):
        if state is None:
            return False
        state = machine.step(state, code)
    return state is not None and machine.label(state) is not False


def _none_if_dead(state: tuple[State, ...]) -> State:
    return None if None in state else state


def _character_groups(sets: Iterable[Ranges], alphabet: Ranges) -> list[list[tuple[int, int]]]:
    """The alphabet's characters in groups that none of the sets tells apart."""
    distinct = list(dict.fromkeys([alphabet, *sets]))
    edges = {0, LAST_CODE_POINT + 1, _SURROGATES[0], _SURROGATES[1] + 1}
    changes: dict[int, int] = {}
    for index, ranges in enumerate(distinct):
        for low, high in ranges:
            edges |= {low, high + 1}
            # where a character's membership in this set begins and ends
            changes[low] = changes.get(low, 0) ^ 1 << index
            changes[high + 1] = changes.get(high + 1, 0) ^ 1 << index
    groups: dict[int, list[tuple[int, int]]] = {}
    ordered = sorted(edges)
    member_of = 0
    for low, after in pairwise(ordered):
        member_of ^= changes.get(low, 0)
        if member_of & 1 and not _SURROGATES[0] <= low <= _SURROGATES[1]:
            groups.setdefault(member_of, []).append((low, after - 1))
    return list(groups.values())


def _trimmed(steps: list[dict[int, list[tuple[int, int]]]], labels: list[Hashable]) -> Dfa | None:
    """The states that lead to an end."""
    users: list[list[int]] = [[] for _ in steps]
    for state, found in enumerate(steps):
        for target in found:
            users[target].append(state)
    work = [state for state, label in enumerate(labels) if label is not False]
    alive = set(work)
    while work:
        for user in users[work.pop()]:
            if user not in alive:
                alive.add(user)
                work.append(user)
    if 0 not in alive:
        return None
    kept = sorted(alive)
    numbers = {state: number for number, state in enumerate(kept)}
    return _joined(
        Dfa(
            [{numbers[t]: merged(r) for t, r in steps[s].items() if t in alive} for s in kept],
            [labels[state] for state in kept],
        )
    )


def _joined(dfa: Dfa) -> Dfa:
    """The DFA with one state for those that accept the same finite set of texts."""
    same = list(range(len(dfa.steps)))
    known: dict[Hashable, int] = {}
    for state in from_the_ends(dfa):
        steps: dict[int, list[tuple[int, int]]] = {}
        for target, ranges in dfa.steps[state].items():
            steps.setdefault(same[target], []).extend(ranges)
        ordered = sorted((target, merged(ranges)) for target, ranges in steps.items())
        same[state] = known.setdefault((dfa.labels[state], tuple(ordered)), state)
    kept = [state for state in range(len(same)) if same[state] == state]
    numbers = {state: number for number, state in enumerate(kept)}
    joined = []
    for state in kept:
        steps = {}
        for target, ranges in dfa.steps[state].items():
            steps.setdefault(numbers[same[target]], []).extend(ranges)
        joined.append({target: merged(ranges) for target, ranges in steps.items()})
    return Dfa(joined, [dfa.labels[state] for state in kept])


def from_the_ends(dfa: Dfa) -> list[int]:
    """Return the states from which only finitely many texts go on, each after all that follow."""
    users: list[list[int]] = [[] for _ in dfa.steps]
    for state, found in enumerate(dfa.steps):
        for target in found:
            users[target].append(state)
    n_open = [len(found) for found in dfa.steps]
    ready = [state for state, n in enumerate(n_open) if not n]
    for state in ready:  # grows
        for user in users[state]:
            n_open[user] -= 1
            if not n_open[user]:
                ready.append(user)
    return ready


def words_of(dfa: Dfa, most: int) -> list[str] | None:
    """Return all texts that a DFA accepts, if they are at most so many; None if not."""
    if len(from_the_ends(dfa)) < len(dfa.steps):
        return None
    found: list[str] = []
    work = [(0, "")]
    while work:
        state, text = work.pop()
        if dfa.labels[state] is not False:
            found.append(text)
        for target, ranges in dfa.steps[state].items():
            if sum(high - low + 1 for low, high in ranges) > most:
                return None
            work += [(target, text + chr(c)) for low, high in ranges for c in range(low, high + 1)]
        if len(found) > most or len(work) > 10 * most:
            return None
    return sorted(found)


def lengths(dfa: Dfa) -> tuple[list[int], list[int | None]]:
    """Return the lengths of the shortest and the longest text from each state on.

    There is no longest one if the length is None.
    """
    n = len(dfa.steps)
    users: list[list[int]] = [[] for _ in range(n)]
    for state, found in enumerate(dfa.steps):
        for target in found:
            users[target].append(state)
    shortest = [-1] * n
    work = [state for state, label in enumerate(dfa.labels) if label is not False]
    for state in work:
        shortest[state] = 0
    for state in work:  # grows
        for user in users[state]:
            if shortest[user] < 0:
                shortest[user] = shortest[state] + 1
                work.append(user)
    longest: list[int | None] = [None] * n
    for state in from_the_ends(dfa):
        after = [longest[target] for target in dfa.steps[state]]
        longest[state] = max((1 + length for length in after if length is not None), default=0)
    return shortest, longest
