"""Automata over characters as rules of a grammar, one for each state.

Rules are written from the ends of texts to their beginnings, so that states of one automaton or of
several that go on in the same way share a rule: the names "first_id" and "last_id" share "_id".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from ...errors import GrammarError
from ..expressions import Ranges
from .machines import MAX_STATES, Dfa, from_the_ends, lengths
from .text import NOTHING, Rules, bounds


def write_dfa(
    dfa: Dfa,
    rules: Rules,
    char: Callable[[Ranges], str],
    suffix: Callable[[Hashable], str | None] = lambda label: '""',
    least: int = 0,
    most: int | None = None,
) -> str:
    """Write what a DFA accepts as rules of a grammar, one a state; return the first as GBNF.

    Args:
        char: writes one character out of ranges.
        suffix: what follows a text with a label, as GBNF; None forbids such texts.
        least: the fewest characters of a text.
        most: the most.
    """
    writer = _Writer(dfa, rules, char, suffix)
    return writer.write(least, most)


class _Place(NamedTuple):
    """A state with at least and at most so many characters to come."""

    state: int
    least: int
    most: int | None


class _Writer:
    def __init__(
        self,
        dfa: Dfa,
        rules: Rules,
        char: Callable[[Ranges], str],
        suffix: Callable[[Hashable], str | None],
    ) -> None:
        self._dfa = dfa
        self._rules = rules
        self._char = char
        self._suffix = suffix
        self._shortest, self._longest = lengths(dfa)
        self._runs = _runs(dfa)
        # the rules that are written, and those that are referred to before
        self._names: dict[_Place, str] = {}
        self._cyclic: dict[_Place, str] = {}

    def write(self, least: int, most: int | None) -> str:
        first = self._target(0, least, most)
        if not isinstance(first, _Place):
            return first or NOTHING
        # a state's rule after those of the states that follow it, so that equal rules are one
        opened: set[_Place] = set()
        work = [first]
        while work:
            place = work[-1]
            if place in self._names:
                work.pop()
            elif place in opened:
                work.pop()
                self._write_rule(place)
            else:
                opened.add(place)
                if len(opened) > MAX_STATES:
                    raise GrammarError(
                        f"a text of limited length needs more than {MAX_STATES} states"
                    )
                following = [self._after(place, target) for target, _ in self._exits(place)]
                work += [
                    other
                    for other in following
                    if isinstance(other, _Place) and other not in opened
                ]
        return self._names[first]

    def _write_rule(self, place: _Place) -> None:
        options = []
        label = self._dfa.labels[place.state]
        if label is not False and place.least == 0 and (end := self._suffix(label)) is not None:
            options.append(end)
        for target, ranges in self._exits(place):
            rest = self._after(place, target)
            if isinstance(rest, _Place):
                rest = self._name(rest)
            elif rest and rest != '""' and rest != NOTHING:
                rest = self._rules.add("text", rest)
            if rest is not None and rest != NOTHING:
                char = self._char(ranges)
                options.append(char if rest == '""' else f"{char} {rest}")
        body = " | ".join(options) or NOTHING
        if run := self._run(place):
            body = f"{self._char(run.ranges)}{bounds(0, run.n_times)} ({body})"
        name = self._cyclic.pop(place, None)
        if name is None:
            name = self._rules.add("text", body)
        else:
            self._rules.define(name, body)
        self._names[place] = name

    def _name(self, place: _Place) -> str:
        """The name of a state's rule; one that leads to itself has it before it is written."""
        if place in self._names:
            return self._names[place]
        if place not in self._cyclic:
            self._cyclic[place] = self._rules.new("text")
        return self._cyclic[place]

    def _run(self, place: _Place) -> _Run | None:
        return self._runs[place.state] if (place.least, place.most) == (0, None) else None

    def _exits(self, place: _Place) -> Iterable[tuple[int, Ranges]]:
        run = self._run(place)
        return self._dfa.steps[place.state].items() if run is None else run.exits

    def _after(self, place: _Place, target: int) -> str | _Place | None:
        most = None if place.most is None else place.most - 1
        return self._target(target, max(place.least - 1, 0), most)

    def _target(self, state: int, least: int, most: int | None) -> str | _Place | None:
        """What can be written from a state on, as GBNF or by its place; None if nothing can."""
        shortest, longest = self._shortest[state], self._longest[state]
        if (most is not None and most < shortest) or (longest is not None and longest < least):
            return None
        if least <= shortest and (most is None or (longest is not None and longest <= most)):
            least, most = 0, None
        loop = self._loop(state, least, most)
        return _Place(state, least, most) if loop is None else loop

    def _loop(self, state: int, least: int, most: int | None) -> str | None:
        """What is a repetition of one set of characters and nothing else."""
        label, steps = self._dfa.labels[state], self._dfa.steps[state]
        if label is False:
            return None
        end = self._suffix(label)
        if not steps:
            return end or NOTHING if least == 0 else NOTHING
        if list(steps) == [state]:
            ranges = steps[state]
        elif (run := self._runs[state]) and not run.exits and (least, most) == (0, None):
            ranges, most = run.ranges, run.n_times
        else:
            return None
        if end is None:
            return NOTHING
        loop = self._char(ranges) + bounds(least, most)
        return loop if end == '""' else f"{loop} {end}"


class _Run(NamedTuple):
    """A state from which characters of one set may be repeated, each time with the same exits."""

    n_times: int
    ranges: Ranges
    exits: tuple[tuple[int, Ranges], ...]


def _runs(dfa: Dfa) -> list[_Run | None]:
    """The states that begin a run: a chain of states that differ only in how far it still goes."""
    found: list[_Run | None] = [None] * len(dfa.steps)
    for state in from_the_ends(dfa):
        steps, label = dfa.steps[state], dfa.labels[state]
        for target, ranges in steps.items():
            if dfa.labels[target] != label:
                continue
            exits = tuple(sorted((t, r) for t, r in steps.items() if t != target))
            after = found[target]
            if after is not None and (after.ranges, after.exits) == (ranges, exits):
                found[state] = _Run(after.n_times + 1, ranges, exits)
                break
            if tuple(sorted(dfa.steps[target].items())) == exits:
                found[state] = _Run(1, ranges, exits)
                break
    return found
