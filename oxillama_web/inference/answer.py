"""An answer as its caller has it: an iterator over its steps, or over its text."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _thread import RLock

    from .generation import GenerationEvent

_T = TypeVar("_T")


class Answer(Iterator[_T]):
    """The steps of an answer. Threads that use it, or its conversation, take turns.

    Attributes:
        turn: held while a step is computed (TokenSequence.turn).
    """

    def __init__(self, steps: Generator[_T, None, None], turn: RLock) -> None:
        self.turn = turn
        self._steps = steps

    def __next__(self) -> _T:
        """Compute the next step."""
        with self.turn:
            return next(self._steps)

    def close(self) -> None:
        """End the answer; the conversation holds what was given of it."""
        with self.turn:
            self._steps.close()


def texts(events: Answer[GenerationEvent]) -> Generator[str, None, None]:
    """Yield an answer's pieces of text."""
    try:
        for event in events:
            if event.text:
                yield event.text
    finally:
        events.close()
