r"""Matches what Python's re cannot match, or not in a reasonable time.

States are tried in the order of a backtracking engine, but one that has led nowhere is not tried
again. So the number of steps grows with the text's length times the pattern's, except for patterns
that refer to groups (\1). Steps are counted, and too many are an error. Source of the idea: "Bit-
state" in https://swtch.com/~rsc/regexp/regexp3.html.
"""

from __future__ import annotations

from ...errors import TokenizerError
from .case_folding import folded
from .nodes import Anchor, Look, Node, lengths
from .program import Members, Memory, Op, Program

_MIN_STEPS, _STEPS_PER_CHARACTER = 200_000, 200

# where a program has ended in the text, and the memory then
_End = tuple[int, Memory]
# the address of an instruction, the place in the text, and the memory
_State = tuple[int, int, Memory]


class Matcher:
    """Finds a pattern in texts.

    Raises:
        TokenizerError: the pattern is too large.
    """

    def __init__(self, node: Node, pattern: str) -> None:
        """`pattern` is what errors name it by."""
        self.pattern = pattern
        self.program = Program(node, pattern)
        self.min_length = lengths(node)[0]


class TextMatcher:
    """Finds a pattern in one text."""

    def __init__(self, matcher: Matcher, text: str) -> None:
        self._matcher = matcher
        self._program = matcher.program
        self._text = text
        self._steps_left = _MIN_STEPS + _STEPS_PER_CHARACTER * len(text)
        self._search_start = 0
        # states that lead nowhere; results of programs that instructions run
        self._failed: set[_State] = set()
        self._results: dict[_State, _End | None] = {}

    def search(self, start: int) -> tuple[int, int] | None:
        """Return where the first match from a place on begins and ends; None if there is none.

        Raises:
            TokenizerError: it takes too many steps.
        """
        self._search_start = start
        if self._program.has_search_start:
            self._failed.clear()
            self._results.clear()
        for place in range(start, len(self._text) - self._matcher.min_length + 1):
            found = self._run((0, place, self._program.memory), self._failed)
            if found is not None:
                return place, found[0]
        return None

    def _run(self, state: _State, failed: set[_State], end: int | None = None) -> _End | None:
        """Run a program; return where it ends first, at `end` if that is given.

        `failed` are the states that lead nowhere; those that are found are added.
        """
        code, text, n_flags = self._program.code, self._text, self._program.n_flags
        path: list[_State] = []  # the choices that have led here
        waiting = [(state, 0)]  # the other choices, and how many of the path lead to each
        while waiting:
            (address, place, memory), n_path = waiting.pop()
            del path[n_path:]
            while True:
                self._count_step()
                op, one, other = code[address]
                address += 1
                if op is Op.SET:
                    if place >= len(text) or not one[text[place]]:
                        break
                    place += 1
                    if n_flags:
                        memory = self._with_progress(memory)
                elif op is Op.SPLIT:
                    state = (address, place, memory)
                    if state in failed:
                        break
                    failed.add(state)
                    path.append(state)
                    waiting += [((goto, place, memory), len(path)) for goto in one[:0:-1]]
                    address = one[0]
                elif op is Op.GOTO:
                    address = one
                elif op is Op.END:
                    if end is None or place == end:
                        failed.difference_update(path)
                        return place, memory
                    break
                else:
                    after = self._other(op, one, other, (address, place, memory))
                    if after is None:
                        break
                    if after[1] > place:
                        after = (*after[:2], self._with_progress(after[2]))
                    address, place, memory = after
        return None

    def _with_progress(self, memory: Memory) -> Memory:
        """Return the memory when all running rounds of loops have matched something."""
        n_flags = self._program.n_flags
        return (1,) * n_flags + memory[n_flags:]

    def _count_step(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TokenizerError(
                f"the vocabulary's pattern {self._matcher.pattern!r} takes too long for a text of "
                f"{len(self._text)} characters"
            )

    def _other(self, op: Op, one: object, other: object, state: _State) -> _State | None:
        """Run a rarer instruction; return the state after it, or None if it fails.

        `state` has the address of the next instruction.
        """
        address, place, memory = state
        if op in (Op.SAVE, Op.BEGIN_ROUND):
            assert isinstance(one, int)
            value = place if op is Op.SAVE else 0
            return address, place, (*memory[:one], value, *memory[one + 1 :])
        if op is Op.END_ROUND:
            assert isinstance(one, int) and isinstance(other, tuple)
            if memory[one]:
                return other[0], place, memory
            return other[1], place, (*memory[:one], 1, *memory[one + 1 :])
        if op is Op.ANCHOR:
            assert isinstance(one, Anchor) and isinstance(other, Members)
            return state if self._is_at(one, other, place) else None
        if op is Op.REFERENCE:
            assert isinstance(one, int)
            end = self._reference(one, bool(other), place, memory)
            return None if end is None else (address, end, memory)
        assert isinstance(other, tuple)
        program, after = other
        if isinstance(one, Look):
            found = self._look(one, program, place, memory)
            if (found is None) != one.negative:
                return None
            return after, place, memory if found is None else self._kept(memory, found[1])
        found = self._called((program, place, memory))
        return None if found is None else (after, found[0], self._kept(memory, found[1]))

    def _kept(self, before: Memory, after: Memory) -> Memory:
        """Return the memory after a program of its own: the flags are those from before it."""
        n_flags = self._program.n_flags
        return before[:n_flags] + after[n_flags:]

    def _called(self, state: _State) -> _End | None:
        if state not in self._results:
            self._results[state] = self._run(state, self._failed)
        return self._results[state]

    def _look(self, look: Look, program: int, place: int, memory: Memory) -> _End | None:
        if not look.behind:
            return self._called((program, place, memory))
        shortest, longest = lengths(look.body)
        last = 0 if longest is None else max(0, place - longest)
        for start in range(place - shortest, last - 1, -1):
            found = self._run((program, start, memory), set(), end=place)
            if found is not None:
                return found
        return None

    def _reference(self, slot: int, ignore_case: bool, place: int, memory: Memory) -> int | None:
        """Return where the text of a group ends, if it comes here."""
        start, end = memory[slot : slot + 2]
        if not 0 <= start <= end:
            return None
        wanted = self._text[start:end]
        found = self._text[place : place + len(wanted)]
        if found == wanted or (ignore_case and folded(found) == folded(wanted)):
            return place + len(wanted)
        return None

    def _is_at(self, anchor: Anchor, word: Members, place: int) -> bool:
        text, kind = self._text, anchor.place
        at_end = place == len(text)
        if kind == "A":
            return place == 0
        if kind == "z":
            return at_end
        if kind == "Z":
            return at_end or (place == len(text) - 1 and text[place] == "\n")
        if kind == "^":
            return place == 0 or (text[place - 1] == "\n" and not at_end)
        if kind == "$":
            return at_end or text[place] == "\n"
        if kind == "G":
            return place == self._search_start
        is_boundary = (place > 0 and word[text[place - 1]]) != (not at_end and word[text[place]])
        return is_boundary == (kind == "b")
