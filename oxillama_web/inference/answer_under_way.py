"""What a sequence asks of the answer that is written to it."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class TakeBack(NamedTuple):
    """What an answer asks for that has told its caller less than it has put into the sequence.

    Attributes:
        version: of the sequence while the answer was written.
        length: how many tokens of the text stay.
        rest: tokens that follow them.
    """

    version: int
    length: int
    rest: list[int]


class AnswerUnderWay(Protocol):
    """What a sequence asks of the answer that is written to it."""

    def owed(self) -> TakeBack | None:
        """Return what has to be taken back if the answer ends now."""

    def needs_pass(self) -> bool:
        """Return whether its next step runs the pending token, and no draft after it."""
