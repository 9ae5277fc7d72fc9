"""Divides the text of an answer into what it says, what it thinks, and the tools that it calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Content(NamedTuple):
    """Text of the answer."""

    text: str


class Reasoning(NamedTuple):
    """Text of a thought."""

    text: str


class CallStart(NamedTuple):
    """A tool is called; its arguments follow."""

    name: str


class CallArguments(NamedTuple):
    """More of the JSON text of the arguments, as the model wrote it."""

    text: str


Part = Content | Reasoning | CallStart | CallArguments


class AnswerParser:
    """Divides the text of an answer, which comes in pieces."""

    is_thinking = False

    def __init__(self, model: object, tools: Sequence[Mapping[str, Any]]) -> None:
        self._model, self._tools = model, tools

    def push(self, text: str) -> list[Part]:
        """Take more text, and return the parts that are certain by now."""
        return [Content(text)] if text else []

    def finish(self) -> list[Part]:
        """Return the rest; the text has ended."""
        return []
