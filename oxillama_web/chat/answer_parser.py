"""Divides the text of an answer into what it says, what it thinks, and the tools that it calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .answer_format import AnswerFormat
from .call_reader import CallReader
from .text_stream import TextStream, Wait

_RECIPIENT = re.compile(r"to=(?:functions\.)?([\w.\-/]+)")


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
    """Divides the text of an answer, which comes in pieces.

    The parts of all pieces are those of the whole text, wherever it is divided. A call that is cut
    off has the arguments that were written, and nothing that closes them.

    Args:
        format_: of the answers.
        tools: in OpenAI's form; without any, calls are text.
        variables: of the template, such as enable_thinking: the prompt may have begun a thought.

    Attributes:
        is_thinking: whether the text so far ends inside of a thought.
    """

    def __init__(
        self,
        format_: AnswerFormat,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self.is_thinking = format_.opens_thought(variables or {}, with_tools=bool(tools))
        self._format = format_
        self._names = {tool["function"]["name"] for tool in tools}
        self._triggers = format_.calls.triggers if tools else ()
        self._stream = TextStream()
        self._parts: list[Part] = []
        self._content = _Writer(lambda text: self._add(Content(text)))
        self._reasoning = _Writer(lambda text: self._add(Reasoning(text)))
        self._reader = CallReader(
            self._stream,
            format_.calls,
            tools,
            self._start_call,
            lambda text: self._add(CallArguments(text)),
        )
        self._run = self._read_channels() if format_.is_harmony else self._read()
        next(self._run, None)

    def push(self, text: str) -> list[Part]:
        """Take more text, and return the parts that are certain by now."""
        self._stream.push(text)
        return self._go_on()

    def finish(self) -> list[Part]:
        """Return the rest; the text has ended."""
        self._stream.end()
        return self._go_on()

    def _go_on(self) -> list[Part]:
        next(self._run, None)
        parts, self._parts = self._parts, []
        return parts

    def _add(self, part: Part) -> None:
        """Append a part, to the last one if that is of its kind."""
        last = self._parts[-1] if self._parts else None
        if type(last) is type(part) and last is not None and not isinstance(part, CallStart):
            part = type(part)(last[0] + part[0])
            self._parts.pop()
        self._parts.append(part)

    def _read(self) -> Wait[None]:
        """Read an answer with marks around thoughts and calls."""
        stream, thoughts = self._stream, self._format.thoughts
        if self.is_thinking:
            yield from self._thought()
        marks = (*self._triggers, *((thoughts.start,) if thoughts else ()))
        while True:
            if self._names and not self._triggers and not self._content.has_text:
                yield from self._bare_call()
            mark = yield from stream.until(marks, self._content.write)
            if mark is None:
                break
            if mark in self._triggers:
                yield from self._call(mark, self._content)
            elif not self._content.has_text:
                self._content.restart()
                self.is_thinking = True
                yield from self._thought()
            else:
                self._content.write(mark)
        self._content.finish()

    def _thought(self) -> Wait[None]:
        """Read a thought from its first mark to its last one; there may be calls in it."""
        assert self._format.thoughts is not None
        end = self._format.thoughts.end
        self._reasoning.restart()
        while mark := (
            yield from self._stream.until((*self._triggers, end), self._reasoning.write)
        ):
            if mark == end:
                self._reasoning.restart()
                self._content.restart()
                self.is_thinking = False
                return
            yield from self._call(mark, self._reasoning)
        self._reasoning.finish()

    def _call(self, mark: str, writer: _Writer) -> Wait[None]:
        """Read calls after a trigger; it is text if no call follows."""
        self._stream.record(mark)
        is_call = yield from self._reader.read(mark)
        text = self._stream.recorded()
        if self._stream.ran_out:
            # what is left of a call that is cut off is neither a call nor text
            self._stream.rest()
        elif not is_call:
            writer.write(text or "")
            return
        writer.restart()

    def _bare_call(self) -> Wait[None]:
        """Read calls that an answer begins with, without a mark."""
        space = yield from self._stream.skip()
        if (yield from self._stream.peek()) != "{":
            self._content.write(space)
            return
        self._stream.record(space)
        is_call = yield from self._reader.read("")
        text = self._stream.recorded()
        if not is_call:
            self._content.write(text or "")
            return
        if self._stream.ran_out:
            self._stream.rest()
        self._content.restart()

    def _start_call(self, name: str) -> bool:
        """Begin a call, unless the name is none of a tool's where that may be a coincidence."""
        if name not in self._names and (self.is_thinking or not self._triggers):
            return False
        self._stream.recorded()
        self._add(CallStart(name))
        return True

    def _read_channels(self) -> Wait[None]:
        """Read messages with channels: <|channel|>analysis<|message|>...<|end|><|start|>..."""
        stream = self._stream
        ends = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
        while True:
            header: list[str] = []
            mark = yield from stream.until(("<|message|>",), header.append)
            text = "".join(header)
            if mark is None:
                # an answer that was cut off in a header, or has none
                if "<|" not in text and " to=" not in text:
                    self._content.write(text)
                break
            recipient = _RECIPIENT.search(text)
            writer = self._content
            if recipient and (recipient[1] in self._names or "to=functions." in text):
                self._add(CallStart(recipient[1]))
                yield from stream.json_value(lambda text: self._add(CallArguments(text)))
                yield from stream.until(ends, lambda _: None)
                continue
            if "analysis" in text:
                writer = self._reasoning
                self.is_thinking = True
            writer.restart()
            end = yield from stream.until(ends, writer.write)
            if end is None:
                break
            writer.finish()
            self.is_thinking = False
        self._content.finish()
        self._reasoning.finish()


class _Writer:
    """Passes text on, without white space at its ends where something else comes.

    Attributes:
        has_text: whether there was anything but white space since the last restart.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self.has_text = False
        self._emit = emit
        self._strips = False
        self._held = ""

    def write(self, text: str) -> None:
        """Take text; white space at its end waits for what comes next."""
        text = self._held + text
        if self._strips and not self.has_text:
            text = text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        if body:
            self.has_text = True
            self._emit(body)

    def restart(self) -> None:
        """Drop the white space that waits; what follows begins without any."""
        self._held, self._strips, self.has_text = "", True, False

    def finish(self) -> None:
        """Pass on the white space that waits, if it follows text."""
        if self.has_text and self._held:
            self._emit(self._held)
        self._held = ""
