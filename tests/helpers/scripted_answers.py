"""Answers that a test has written in advance, in the place of a model's."""

from __future__ import annotations


class Script:
    """Answers with given pieces, and remembers what it was asked for."""

    def __init__(self, pieces: list[str], finish_reason: str = "stop") -> None:
        self.pieces = pieces
        self.finish_reason = finish_reason
        self.prompt = ""
        self.options: dict[str, object] = {}
