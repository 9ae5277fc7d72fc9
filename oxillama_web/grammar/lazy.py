"""A grammar that holds an answer from a mark on: what precedes it is free text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .masks import Constraint


class Marks(NamedTuple):
    """What a lazy grammar looks for, as UTF-8.

    Attributes:
        triggers: from one of these on the grammar holds.
        thought: the marks around a thought, in which nothing triggers; None if there are none.
        at_start: whether a trigger counts only where an answer begins, or follows a thought.
    """

    triggers: Sequence[bytes]
    thought: tuple[bytes, bytes] | None = None
    at_start: bool = False


class LazyConstraint:
    """Restricts nothing until a mark has come: `Constraint` of sampling/sampler.py.

    Args:
        begin: returns what restricts from a trigger on.
        marks: see there.
        token_bytes: returns the text of a token, and the name of a control token.
        is_thinking: whether the answer begins inside of a thought.
    """

    def __init__(
        self,
        begin: Callable[[], Constraint],
        marks: Marks,
        token_bytes: Callable[[int], bytes],
        *,
        is_thinking: bool = False,
    ) -> None:
        self._begin = begin
        self._marks = marks
        self._token_bytes = token_bytes
        self._is_thinking = is_thinking
        self._is_at_start = True
        self._text = b""  # in which marks are looked for
        self._constraint: Constraint | None = None

    def restrict(
        self, logits: memoryview[float], n_needed: int | None
    ) -> tuple[list[int], list[float]] | None:
        """Exclude the tokens that may not come next, from the mark on."""
        return self._constraint.restrict(logits, n_needed) if self._constraint else None

    def advance(self, token: int) -> None:
        """Append a token."""
        if self._constraint:
            self._constraint.advance(token)
            return
        self._text += self._token_bytes(token)
        while self._constraint is None and self._find_mark():
            pass

    def _find_mark(self) -> bool:
        """Pass the next mark; False if there is none yet."""
        thought = self._marks.thought
        if self._is_thinking and thought:
            marks: list[bytes] = [thought[1]]
        else:
            marks = [*self._marks.triggers, *(thought[:1] if thought else ())]
        found = [(at, mark) for mark in marks if (at := self._text.find(mark)) >= 0]
        if not found:
            # the text may end with the beginning of a mark
            kept = min(len(self._text), max(map(len, marks), default=1) - 1)
            self._pass(len(self._text) - kept)
            return False
        at, mark = min(found)
        self._pass(at)
        self._text = self._text[len(mark) :]
        if self._is_thinking:
            self._is_thinking, self._is_at_start = False, True
        elif thought and mark == thought[0]:
            self._is_thinking = self._is_at_start
        elif self._is_at_start or not self._marks.at_start:
            constraint = self._begin()
            if constraint.follow(self._text):
                self._constraint = constraint
        return True

    def _pass(self, n: int) -> None:
        """Drop n bytes of the text, in which no mark begins."""
        self._is_at_start = self._is_at_start and not self._text[:n].strip()
        self._text = self._text[n:]
