"""A regular expression as a machine: in which texts it matches somewhere.

Thompson's construction (https://swtch.com/~rsc/regexp/regexp1.html) with places: a set of nodes is
followed through places (start, end, border of a word) only when the next character is known. A node
that was reached through a lookahead carries what must hold for the rest of the text, which is a
state of another such machine.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from ...errors import GrammarError
from ..expressions import Ranges, in_ranges
from .machines import State
from .regex import WORD, Ahead, Alt, At, Regex, Seq, Set, Times

MAX_NODES = 20_000
# The state from which everything matches.
MATCHED = -1
_NEWLINE: Ranges = ((0x0A, 0x0A),)
# What is before or after a place: nothing, a character of a word, of none, or dialects differ.
_EDGE, _WORD, _OTHER, _UNSURE = "edge", "word", "other", "unsure"

# What must hold for the rest: the number of a lookahead's machine, and its state.
Duties = frozenset[tuple[int, State]]


class _Node(NamedTuple):
    chars: Ranges | None
    following: tuple[int, ...]
    place: str = ""
    ahead: tuple[int, ...] = ()


class RegexMachine:
    """The texts in which a regex matches.

    Args:
        outer: whether those of any dialect, or only those of all dialects.
        anchored: whether it must match from the first character on.
        before: what is before the first character.
    """

    def __init__(
        self, regex: Regex, outer: bool = False, anchored: bool = False, before: str = _EDGE
    ) -> None:
        self._outer = outer
        self._anchored = anchored
        # node 0 is the match, which goes on with anything
        self._nodes: list[_Node] = [_Node(None, ())]
        self._aheads: list[tuple[RegexMachine, bool]] = []
        self._ahead_numbers: dict[tuple[Regex, bool, str], int] = {}
        self._uses_words = False
        self._closures: dict[Hashable, set[tuple[int, Duties]]] = {}
        first = self._add(regex, 0)
        self._first: tuple[int, Duties] = (first, frozenset())
        self.sets = [node.chars for node in self._nodes if node.chars is not None]
        if self._uses_words or self._has_aheads(regex):
            self.sets += [WORD, ((0, 0x7F),)]
        self.sets.append(_NEWLINE)
        for number in range(len(self._aheads)):
            self.sets += self._aheads[number][0].sets
        # states by number: what is before the place, and the nodes there
        self._states: list[tuple[str, frozenset[tuple[int, Duties]]]] = []
        self._numbers: dict[tuple[str, frozenset[tuple[int, Duties]]], int] = {}
        self._steps: dict[tuple[State, int], State] = {}
        self.start: State = self._number(before, frozenset([self._first]))

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        key = (state, code)
        if key not in self._steps:
            self._steps[key] = self._step(state, code)
        return self._steps[key]

    def _step(self, state: State, code: int) -> State:
        if state == MATCHED:
            return state
        assert isinstance(state, int)
        before, items = self._states[state]
        kind = self._kind(code)
        found: set[tuple[int, Duties]] = set()
        for node, duties in self._closure(items, before, kind, at_end=False):
            following: tuple[int, ...] = (0,)
            if node != 0:
                chars = self._nodes[node].chars
                assert chars is not None
                if not in_ranges(chars, code):
                    continue
                following = self._nodes[node].following
            rest = self._step_duties(duties, code)
            if rest is not None:
                found |= {(target, rest) for target in following}
        if (0, frozenset()) in found:
            return MATCHED
        if not self._anchored:
            found.add(self._first)
        return self._number(kind, _minimal(found)) if found else None

    def _number(self, before: str, items: frozenset[tuple[int, Duties]]) -> int:
        number = self._numbers.setdefault((before, items), len(self._states))
        if number == len(self._states):
            self._states.append((before, items))
            if number > MAX_NODES:
                raise GrammarError(f"a pattern needs more than {MAX_NODES} states")
        return number

    def label(self, state: State) -> Hashable:
        """Return whether the text may end here."""
        if state == MATCHED:
            return True
        assert isinstance(state, int)
        before, items = self._states[state]
        return any(
            node == 0 and all(self._may_end(duty) for duty in duties)
            for node, duties in self._closure(items, before, _EDGE, at_end=True)
        )

    def _has_aheads(self, regex: Regex) -> bool:
        match regex:
            case Ahead():
                return True
            case Seq(parts) | Alt(parts):
                return any(map(self._has_aheads, parts))
            case Times(part):
                return self._has_aheads(part)
        return False

    def _kind(self, code: int) -> str:
        if not self._uses_words:
            return _OTHER
        if code >= 0x80:
            return _UNSURE
        return _WORD if in_ranges(WORD, code) else _OTHER

    def _add(self, regex: Regex, following: int) -> int:
        """Add nodes that go on at `following`; return the first."""
        match regex:
            case Set(inner, outer):
                return self._node(_Node(outer if self._outer else inner, (following,)))
            case Seq(parts):
                for part in reversed(parts):
                    following = self._add(part, following)
                return following
            case Alt(options):
                targets = tuple(self._add(option, following) for option in options)
                return self._node(_Node(None, targets))
            case Times(part, least, most):
                return self._add_times(part, least, most, following)
            case At(place):
                return self._add_place(place, following)
            case Ahead():
                return self._add_ahead(regex, following)

    def _add_times(self, part: Regex, least: int, most: int | None, following: int) -> int:
        if most is None:
            loop = self._node(_Node(None, ()))
            first = self._add(part, loop)
            self._nodes[loop] = _Node(None, (first, following))
            start = loop
        else:
            start = following
            for _ in range(most - least):
                start = self._node(_Node(None, (self._add(part, start), following)))
        for _ in range(least):
            start = self._add(part, start)
        return start

    def _add_place(self, place: str, following: int) -> int:
        if place in "bB":
            self._uses_words = True
        end = self._node(_Node(None, (following,), place))
        if place != "$" or not self._outer:
            return end
        # in some dialects also before a newline at the end
        last = Seq((Set(_NEWLINE, _NEWLINE), At("Z")))
        return self._node(_Node(None, (end, self._add_ahead(Ahead(last, False), following))))

    def _add_ahead(self, ahead: Ahead, following: int) -> int:
        """A place after which another machine decides; there is one for what is before it each."""
        self._uses_words = self._uses_words or _uses_words(ahead.part)
        numbers = []
        for before in (_EDGE, _WORD, _OTHER, _UNSURE):
            key = (ahead.part, ahead.negative, before)
            if key not in self._ahead_numbers:
                outer = self._outer != ahead.negative
                self._ahead_numbers[key] = len(self._aheads)
                machine = RegexMachine(ahead.part, outer, anchored=True, before=before)
                self._aheads.append((machine, ahead.negative))
            numbers.append(self._ahead_numbers[key])
        return self._node(_Node(None, (following,), "ahead", tuple(numbers)))

    def _node(self, node: _Node) -> int:
        if len(self._nodes) >= MAX_NODES:
            raise GrammarError(
                f"a pattern that is combined with something else needs more than {MAX_NODES} nodes"
            )
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _closure(
        self, items: frozenset[tuple[int, Duties]], before: str, after: str, at_end: bool
    ) -> set[tuple[int, Duties]]:
        """The nodes that read a character or are the match."""
        key = (items, before, after, at_end)
        if (known := self._closures.get(key)) is not None:
            return known
        seen, work = set(items), list(items)
        found = self._closures[key] = set()
        while work:
            item = number, duties = work.pop()
            node = self._nodes[number]
            if number == 0 or node.chars is not None:
                found.add(item)
                continue
            if node.place == "ahead":
                index = (_EDGE, _WORD, _OTHER, _UNSURE).index(before)
                ahead = node.ahead[index]
                duties = duties | {(ahead, self._aheads[ahead][0].start)}
            elif node.place and not self._is_at(node.place, before, after, at_end):
                continue
            for target in node.following:
                if (target, duties) not in seen:
                    seen.add((target, duties))
                    work.append((target, duties))
        return found

    def _is_at(self, place: str, before: str, after: str, at_end: bool) -> bool:
        if place == "^":
            return before == _EDGE
        if place in "$Z":
            return at_end
        # whether \B is in the empty text, dialects differ as well
        if _UNSURE in (before, after) or (place == "B" and before == after == _EDGE):
            return self._outer
        return ((before == _WORD) != (after == _WORD)) == (place == "b")

    def _step_duties(self, duties: Duties, code: int) -> Duties | None:
        """What must hold after a character; None if it cannot any more."""
        rest = set()
        for number, state in duties:
            machine, negative = self._aheads[number]
            state = machine.step(state, code)
            decided = state is None or state == MATCHED
            if not decided:
                rest.add((number, state))
            elif (state is None) != negative:
                return None
        return frozenset(rest)

    def _may_end(self, duty: tuple[int, State]) -> bool:
        machine, negative = self._aheads[duty[0]]
        return (machine.label(duty[1]) is not False) != negative


def _uses_words(regex: Regex) -> bool:
    match regex:
        case At(place):
            return place in "bB"
        case Seq(parts) | Alt(parts):
            return any(map(_uses_words, parts))
        case Times(part) | Ahead(part):
            return _uses_words(part)
    return False


def _minimal(items: set[tuple[int, Duties]]) -> frozenset[tuple[int, Duties]]:
    """The items without those that have more duties than another one at the same node."""
    if not any(duties for _, duties in items):
        return frozenset(items)
    return frozenset(
        (node, duties)
        for node, duties in items
        if not any(node == other and rest < duties for other, rest in items)
    )
