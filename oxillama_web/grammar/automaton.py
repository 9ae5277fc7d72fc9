"""A grammar as networks of nodes over bytes, one network for each rule, which call each other.

Recursive transition networks (Woods 1970, https://doi.org/10.1145/355598.362773). Unbounded
repetitions are loops, so only rules that refer to themselves need a stack. A rule that is being
matched has a register besides: a bounded repetition counts in it instead of being unrolled, and
marks are its bits.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import GrammarError
from .expressions import Chars, Choice, Expression, Once, Reference, Repeat, Sequence, Token
from .utf8 import ByteRanges, byte_sequences

MAX_NODES = 600_000
# What repetitions inside of repetitions may multiply to.
_MAX_REPETITIONS = 300_000
# Up to so many repetitions are unrolled: that is cheaper than to count them.
_MAX_UNROLLED = 4
# the node that ends every rule
RETURN = 0


class Count(NamedTuple):
    """Reads on with what the node stands for while the register is below `most`; None is no bound.

    From `least` on, the rule may end here.
    """

    least: int
    most: int | None


class Add(NamedTuple):
    """Adds one to the register, up to a limit."""

    limit: int


class Automaton(NamedTuple):
    """Nodes by number; a node reads a byte, calls a rule, works on the register, or is a fork.

    Attributes:
        start: where a text begins.
        classes: the class of each byte, 256 entries; no node tells bytes of one class apart.
        n_classes: the number of classes.
        reads: for each node the classes that it reads, as a set of bits; 0 if it does not read.
        calls: for each node where the rule that it calls begins, or -1.
        following: for each node what comes after what it reads, calls or does.
        splits: for each node the nodes that it stands for, or none.
        actions: what some nodes do with the register.
        tokens: what some nodes read: a whole token.
        marked: where rules begin that use marks. One that another rule ends with keeps the
            register; all others begin with 0.
    """

    start: int
    classes: bytes
    n_classes: int
    reads: list[int]
    calls: list[int]
    following: list[int]
    splits: list[tuple[int, ...]]
    actions: dict[int, Count | Add | Once]
    tokens: dict[int, Token]
    marked: frozenset[int]


def build_automaton(rules: dict[str, Expression]) -> Automaton:
    """Build the automaton of a grammar whose rule `root` matches whole texts.

    Raises:
        GrammarError: it is too large, left-recursive, or matches no text that ends.
    """
    nodes = _Nodes()
    starts: dict[str, int] = {name: nodes.split() for name in rules}
    for name, expression in rules.items():
        nodes.begin_rule(name)
        nodes.splits[starts[name]] = (nodes.add(expression, RETURN, starts),)
    for _, wide, start in nodes.classes.values():
        if wide:
            nodes.splits[start] = tuple(nodes.add_sequences(wide))
    root = starts["root"]
    _drop_endless(nodes, root)
    names = {start: name for name, start in starts.items()} | nodes.counters
    _refuse_left_recursion(nodes, names)
    classes, n_classes, reads = _byte_classes(nodes.bytes)
    marked = _marked(nodes, starts)
    return Automaton(
        root, classes, n_classes, reads, nodes.calls, nodes.following, nodes.splits,
        nodes.actions, nodes.tokens, marked,
    )  # fmt: skip


class _Nodes:
    """Nodes that grow from their ends to their beginnings."""

    def __init__(self) -> None:
        # each node's bytes, as a set of 256 bits; RETURN is the first node
        self.bytes = [0]
        self.calls = [-1]
        self.following = [RETURN]
        self.splits: list[tuple[int, ...]] = [()]
        self.actions: dict[int, Count | Add | Once] = {}
        self.tokens: dict[int, Token] = {}
        # each class of characters: its single bytes, as a set of 256 bits; its longer encodings;
        # and the rule that they are, which occurs once
        self.classes: dict[Chars, tuple[int, list[ByteRanges], int]] = {}
        # where counted repetitions begin, and the rules that they belong to
        self.counters: dict[int, str] = {}
        # the rules that use marks themselves
        self.with_marks: set[str] = set()
        self._rule = ""
        self._repetitions = 1

    def begin_rule(self, name: str) -> None:
        """Say whose nodes are added from now on."""
        self._rule = name

    def add(self, expression: Expression, following: int, starts: dict[str, int]) -> int:
        """Add an expression that continues at `following`; return where it begins."""
        match expression:
            case Chars():
                return self._chars(expression, following)
            case Reference(name):
                return self._node(0, starts[name], following)
            case Sequence(items):
                for item in reversed(items):
                    following = self.add(item, following, starts)
                return following
            case Choice(options):
                return self._choice(options, following, starts)
            case Repeat(item, least, most):
                return self._repeat(item, least, most, following, starts)
            case Once():
                self.with_marks.add(self._rule)
                return self._act(expression, following)
            case Token():
                node = self._node(0, -1, following)
                self.tokens[node] = expression
                return node

    def split(self, *targets: int) -> int:
        """Add a node that stands for others."""
        node = self._node(0, -1, RETURN)
        self.splits[node] = targets
        return node

    def add_sequences(self, sequences: list[ByteRanges]) -> list[int]:
        """Return where each of them begins; they share equal ends."""
        ends: dict[ByteRanges, int] = {(): RETURN}
        starts = []
        for sequence in sequences:
            for length in range(1, len(sequence) + 1):
                tail = sequence[len(sequence) - length :]
                if tail not in ends:
                    low, high = tail[0]
                    ends[tail] = self._node(_bits(low, high), -1, ends[tail[1:]])
            starts.append(ends[sequence])
        return starts

    def _chars(self, expression: Chars, following: int) -> int:
        if expression not in self.classes:
            self.classes[expression] = self._class(expression)
        narrow, wide, start = self.classes[expression]
        targets = [self._node(narrow, -1, following)] if narrow else []
        if wide:
            targets.append(self._node(0, start, following))
        return targets[0] if len(targets) == 1 else self.split(*targets)

    def _class(self, expression: Chars) -> tuple[int, list[ByteRanges], int]:
        narrow, wide = 0, []
        for sequence in byte_sequences(expression.ranges):
            if len(sequence) == 1:
                narrow |= _bits(*sequence[0])
            else:
                wide.append(sequence)
        return narrow, wide, self.split() if wide else RETURN

    def _choice(
        self, options: tuple[Expression, ...], following: int, starts: dict[str, int]
    ) -> int:
        """Any of the options, as a tree of the characters that they begin with."""
        children: list[dict[Chars, int]] = [{}]
        tails: list[list[tuple[Expression, ...]]] = [[]]
        for option in options:
            items = option.items if isinstance(option, Sequence) else (option,)
            at = 0
            for n, item in enumerate(items):
                if not isinstance(item, Chars):
                    tails[at].append(items[n:])
                    break
                child = children[at].setdefault(item, len(children))
                if child == len(children):
                    children.append({})
                    tails.append([])
                at = child
            else:
                tails[at].append(())
        built = [RETURN] * len(children)
        for at in reversed(range(len(children))):
            targets = [self._chars(char, built[child]) for char, child in children[at].items()]
            targets += [self.add(Sequence(tail), following, starts) for tail in tails[at]]
            built[at] = targets[0] if len(targets) == 1 else self.split(*targets)
        return built[0]

    def _repeat(
        self, item: Expression, least: int, most: int | None, following: int, starts: dict[str, int]
    ) -> int:
        if max(least, most or 0) <= _MAX_UNROLLED:
            return self._unrolled(item, least, most, following, starts)
        # a rule of its own, in whose register it counts
        count = self.split()
        self.counters[count] = self._rule
        self.actions[count] = Count(least, most)
        add = self._act(Add(most or least), count)
        before, self._repetitions = self._repetitions, self._repetitions * max(least, most or 0)
        if self._repetitions > _MAX_REPETITIONS:
            raise GrammarError(
                f"repetitions inside of repetitions stand for more than {_MAX_REPETITIONS} nodes"
            )
        n_marked = len(self.with_marks)
        self.splits[count] = (self.add(item, add, starts),)
        if len(self.with_marks) > n_marked:
            raise GrammarError("a mark cannot be in a counted repetition")
        self._repetitions = before
        return self._node(0, count, following)

    def _unrolled(
        self, item: Expression, least: int, most: int | None, following: int, starts: dict[str, int]
    ) -> int:
        if most is None:
            start = self.split()
            self.splits[start] = (self.add(item, start, starts), following)
        else:
            start = following
            for _ in range(most - least):
                start = self.split(self.add(item, start, starts), following)
        for _ in range(least):
            start = self.add(item, start, starts)
        return start

    def _act(self, action: Add | Once, following: int) -> int:
        node = self._node(0, -1, following)
        self.actions[node] = action
        return node

    def _node(self, bytes_read: int, call: int, following: int) -> int:
        if len(self.bytes) >= MAX_NODES:
            raise GrammarError(f"the grammar needs more than {MAX_NODES} nodes")
        self.bytes.append(bytes_read)
        self.calls.append(call)
        self.following.append(following)
        self.splits.append(())
        return len(self.bytes) - 1


def _bits(low: int, high: int) -> int:
    return (1 << high + 1) - (1 << low)


def _drop_endless(nodes: _Nodes, root: int) -> None:
    """Drop choices that can never come to an end, so that every beginning of a text has one."""
    n = len(nodes.bytes)
    users: list[list[int]] = [[] for _ in range(n)]
    for node in range(1, n):
        if nodes.bytes[node] or nodes.calls[node] >= 0 or node in nodes.tokens:
            users[nodes.following[node]].append(node)
        if nodes.calls[node] >= 0:
            users[nodes.calls[node]].append(node)
        for target in (*nodes.splits[node], *_after(nodes, node)):
            users[target].append(node)
    ends = bytearray(n)
    ends[RETURN] = 1
    work = [RETURN]
    while work:
        for node in users[work.pop()]:
            call = nodes.calls[node]
            if not ends[node] and (call < 0 or (ends[call] and ends[nodes.following[node]])):
                ends[node] = 1
                work.append(node)
    if not ends[root]:
        raise GrammarError("the grammar matches no text that ever ends")
    nodes.splits = [tuple(t for t in targets if ends[t]) for targets in nodes.splits]


def _after(nodes: _Nodes, node: int) -> tuple[int, ...]:
    """Where a node goes on that works on the register, without another turn of its repetition."""
    match nodes.actions.get(node):
        case Count(least):
            return () if least else (RETURN,)
        case Add():
            return (RETURN,)
        case Once():
            return (nodes.following[node],)
    return ()


def _refuse_left_recursion(nodes: _Nodes, names: dict[int, str]) -> None:
    """Raise GrammarError if a rule can call itself before anything is read."""
    called: dict[int, set[int]] = {}
    callers: dict[int, set[int]] = {}
    empty: set[int] = set()
    work = list(names)
    while work:
        start = work.pop()
        called[start], is_empty = _first_calls(nodes, start, empty)
        for callee in called[start]:
            callers.setdefault(callee, set()).add(start)
        if is_empty and start not in empty:
            empty.add(start)
            work += callers.get(start, ())
    for count in nodes.counters:
        action = nodes.actions[count]
        # if the item can be empty, the rest of the repetitions can be
        if count in empty and isinstance(action, Count):
            nodes.actions[count] = Count(0, action.most)
    done: set[int] = set()
    for start in names:
        path: list[tuple[int, list[int]]] = [(start, list(called[start]))]
        on_path = {start}
        while path:
            node, rest = path[-1]
            if not rest:
                path.pop()
                on_path.discard(node)
                done.add(node)
                continue
            callee = rest.pop()
            if callee in on_path:
                raise GrammarError(
                    f"the rule {names[callee]!r} is left-recursive: it can begin with itself; "
                    f"write it with * or +, or with the recursion at its end"
                )
            if callee in called and callee not in done:
                path.append((callee, list(called[callee])))
                on_path.add(callee)


def _first_calls(nodes: _Nodes, start: int, empty: set[int]) -> tuple[set[int], bool]:
    """The rules that can be called before a byte is read, and whether none need be read."""
    seen, work, calls = {start}, [start], set()
    while work:
        node = work.pop()
        targets = (*nodes.splits[node], *_after(nodes, node))
        call = nodes.calls[node]
        if call >= 0:
            calls.add(call)
            if call in empty:
                targets = (nodes.following[node],)
        for target in targets:
            if target not in seen:
                seen.add(target)
                work.append(target)
    return calls, RETURN in seen


def _marked(nodes: _Nodes, starts: dict[str, int]) -> frozenset[int]:
    """Where rules begin that use marks, or that end with a rule that does."""
    found = {starts[name] for name in nodes.with_marks}
    if not found:
        return frozenset()
    owners: dict[int, set[int]] = {}
    for start in starts.values():
        for callee in _last_calls(nodes, start):
            owners.setdefault(callee, set()).add(start)
    work = list(found)
    while work:
        for start in owners.get(work.pop(), ()):
            if start not in found:
                found.add(start)
                work.append(start)
    return frozenset(found)


def _last_calls(nodes: _Nodes, start: int) -> set[int]:
    """The rules with which a rule ends."""
    seen, work, calls = {start}, [start], set()
    while work:
        node = work.pop()
        if nodes.calls[node] >= 0 and nodes.following[node] == RETURN:
            calls.add(nodes.calls[node])
        for target in (*nodes.splits[node], nodes.following[node]):
            if target not in seen:
                seen.add(target)
                work.append(target)
    return calls


def _byte_classes(sets: list[int]) -> tuple[bytes, int, list[int]]:
    """Return each byte's class, their number, and each node's set of bytes as one of classes."""
    distinct = [s for s in set(sets) if s]
    groups = [(1 << 256) - 1]
    for bytes_read in distinct:
        split = [part for g in groups for part in (g & bytes_read, g & ~bytes_read) if part]
        groups = split
    members = [[byte for byte in range(256) if group >> byte & 1] for group in groups]
    classes = bytearray(256)
    for number, group in enumerate(members):
        for byte in group:
            classes[byte] = number
    as_classes = {
        s: sum(1 << number for number, group in enumerate(members) if s >> group[0] & 1)
        for s in distinct
    }
    return bytes(classes), len(groups), [as_classes.get(s, 0) for s in sets]
