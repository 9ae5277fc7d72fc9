"""A text that arrives in pieces, for readers that are coroutines: they pause where it ends so far.

Each method that may have to wait is a generator that yields nothing; call it with `yield from`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from typing import TypeVar

from .call_format import ANY, parts

_T = TypeVar("_T")
Wait = Generator[None, None, _T]
Emit = Callable[[str], None]

_ANY_TEXT = re.compile(r"[\w.:-]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
# what of a JSON value needs no look at single characters
_PLAIN = re.compile(r'[^"{}\[\]]+')
_SCALAR = re.compile(r"[\w.+-]+")


class TextStream:
    """The part of a text that was not read yet.

    Attributes:
        ran_out: whether a reader wanted more than there was when the text had ended.
    """

    def __init__(self) -> None:
        self.ran_out = False
        self._text = ""
        self._has_ended = False
        self._log: list[str] | None = None

    def push(self, text: str) -> None:
        """Append a piece."""
        self._text += text

    def end(self) -> None:
        """Say that no more will come."""
        self._has_ended = True

    def record(self, first: str = "") -> None:
        """Remember what is read from now on, after this text."""
        self._log = [first]

    def recorded(self) -> str | None:
        """Return what was read since `record`, and stop to remember; None if that was done."""
        log, self._log = self._log, None
        return None if log is None else "".join(log)

    def more(self) -> Wait[bool]:
        """Wait for more text; False if there is no more."""
        n = len(self._text)
        while len(self._text) == n and not self._has_ended:
            yield
        self.ran_out = len(self._text) == n
        return not self.ran_out

    def peek(self) -> Wait[str]:
        """Return the next character, "" at the end."""
        if not self._text:
            yield from self.more()
        return self._text[:1]

    def rest(self) -> str:
        """Read all that is there."""
        return self.drop(len(self._text))

    def drop(self, n: int) -> str:
        """Read n characters that are there."""
        text, self._text = self._text[:n], self._text[n:]
        if self._log is not None:
            self._log.append(text)
        return text

    def skip(self, characters: str = "") -> Wait[str]:
        """Read white space and these characters, and return them."""
        found = []
        while (c := (yield from self.peek())) and (c.isspace() or c in characters):
            found.append(self.drop(1))
        return "".join(found)

    def match(self, pattern: re.Pattern[str]) -> Wait[str]:
        """Read what matches a pattern that is a repetition of single characters."""
        found = ""
        while (yield from self.peek()):
            match = pattern.match(self._text)
            n = match.end() if match else 0
            found += self.drop(n)
            if n == 0 or self._text:
                break
        return found

    def next_is(self, texts: Iterable[str]) -> Wait[str | None]:
        """Return which of these texts comes next, the longest; None if none does."""
        longest_first = sorted(texts, key=len, reverse=True)
        while True:
            for text in longest_first:
                if self._text.startswith(text):
                    return text
                if text.startswith(self._text) and (yield from self.more()):
                    break
            else:
                return None

    def take(self, text: str) -> Wait[bool]:
        """Read a text of a format, with any white space; False if something else comes.

        Where the format has ANY, letters, digits and some signs are read.
        """
        for part in parts(text):
            yield from self.skip()
            for n, literal in enumerate(part.split(ANY)):
                if n:
                    yield from self.match(_ANY_TEXT)
                if (yield from self.next_is([literal])) is None:
                    return False
                self.drop(len(literal))
        return True

    def until(self, marks: Iterable[str], emit: Emit, *, in_call: bool = False) -> Wait[str | None]:
        """Pass text on until a mark, read that, and return it; None if the text ends before.

        Args:
            marks: of which one is expected.
            emit: takes the text.
            in_call: whether a text that ends with the beginning of a mark was cut off there.
        """
        pattern, marks = _pattern(tuple(marks)), tuple(marks)
        while True:
            found = pattern.search(self._text) if marks else None
            held = _held(self._text, marks)
            if found and (found.start() < held or self._has_ended):
                _pass_on(emit, self.drop(found.start()))
                return self.drop(len(found[0]))
            _pass_on(emit, self.drop(held))
            if not (yield from self.more()):
                _pass_on(_ignore if in_call else emit, self.rest())
                return None

    def json_string(self) -> Wait[str | None]:
        """Read a JSON string, and return its value; None if it is none, or cut off."""
        if (yield from self.peek()) != '"':
            return None
        while not (found := _STRING.match(self._text)):
            if not (yield from self.more()):
                return None
        try:
            value = json.loads(self.drop(found.end()), strict=False)
        except ValueError:
            return None
        return value if isinstance(value, str) else None

    def json_value(self, emit: Emit) -> Wait[bool]:
        """Pass a JSON value on to the letter; False if it is none, or cut off."""
        yield from self.skip()
        depth = 0
        while c := (yield from self.peek()):
            if c == '"':
                emit(self.drop(1))
                if not (yield from self._rest_of_string(emit)):
                    return False
            elif c in "{[":
                emit(self.drop(1))
                depth += 1
                continue
            elif depth == 0:
                scalar = yield from self.match(_SCALAR)
                _pass_on(emit, scalar)
                return scalar != ""
            elif c in "}]":
                emit(self.drop(1))
                depth -= 1
            else:
                emit((yield from self.match_now(_PLAIN)))
            if depth == 0:
                return True
        return False

    def match_now(self, pattern: re.Pattern[str]) -> Wait[str]:
        """Read what of the text that is there matches a pattern."""
        yield from self.peek()
        match = pattern.match(self._text)
        return self.drop(match.end()) if match else ""

    def _rest_of_string(self, emit: Emit) -> Wait[bool]:
        """Pass on what follows a JSON string's first quote."""
        while mark := (yield from self.until(('"', "\\"), emit)):
            emit(mark)
            if mark == '"':
                return True
            if not (yield from self.peek()):
                return False
            emit(self.drop(1))
        return False


def _ignore(text: str) -> None:
    """Take text that is not wanted."""


def _pass_on(emit: Emit, text: str) -> None:
    if text:
        emit(text)


@lru_cache(maxsize=64)
def _pattern(marks: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))


def _held(text: str, marks: tuple[str, ...]) -> int:
    """Return where the end of a text may be the beginning of a mark."""
    longest = max(map(len, marks), default=1)
    for start in range(max(0, len(text) - longest + 1), len(text)):
        end = text[start:]
        if any(len(mark) > len(end) and mark.startswith(end) for mark in marks):
            return start
    return len(text)
