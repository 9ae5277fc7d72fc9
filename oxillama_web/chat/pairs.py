"""Reads arguments that are pairs: Python's keyword arguments, and objects with bare keys."""

from __future__ import annotations

import json
import re

from .text_stream import Emit, TextStream, Wait

_MAX_DEPTH = 64
_KEY = re.compile(r"[\w.\-]+")
_SCALAR = re.compile(r"[^\s,\]\)}:]+")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORDS = {"True": "true", "False": "false", "None": "null"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\n": ""}
_CODES = {"x": 2, "u": 4, "U": 8}


def read_python_arguments(stream: TextStream, emit: Emit) -> Wait[None]:
    """Read `key=value, ...)` and pass it on as a JSON object."""
    yield from _Pairs(stream, emit, "").arguments("=", ")")


def read_loose_arguments(stream: TextStream, emit: Emit, quote: str) -> Wait[None]:
    """Read `{key:value,...}`, whose texts stand between two `quote`s, as a JSON object."""
    yield from stream.take("{")
    yield from _Pairs(stream, emit, quote).arguments(":", "}")


class _Pairs:
    def __init__(self, stream: TextStream, emit: Emit, quote: str) -> None:
        self._stream = stream
        self._emit = emit
        # how texts begin and end; Python's have escapes
        self._quotes = (quote,) if quote else ('"', "'")
        self._has_escapes = not quote

    def arguments(self, equals: str, close: str) -> Wait[bool]:
        """Read pairs up to `close`; False if they are cut off, or no pairs."""
        return (yield from self._items("{", close, equals, 0))

    def _items(self, open_: str, close: str, equals: str, depth: int) -> Wait[bool]:
        """Read what a container holds; with `equals`, each item has a key before it."""
        stream = self._stream
        separator = open_
        while True:
            yield from stream.skip(",")
            c = yield from stream.peek()
            if c in ("", close):
                break
            key = ""
            if equals:
                name = yield from self._key()
                yield from stream.skip()
                if name is None or (yield from stream.peek()) != equals:
                    return False
                stream.drop(1)
                key = json.dumps(name, ensure_ascii=False) + ": "
                yield from stream.skip()
                if not (yield from stream.peek()):
                    return False
            self._emit(separator + key)
            separator = ", "
            if not (yield from self._value(depth + 1)):
                return False
        if c != close:
            return False
        stream.drop(1)
        self._emit((open_ if separator == open_ else "") + _CLOSING[open_])
        return True

    def _key(self) -> Wait[str | None]:
        quote = yield from self._stream.next_is(self._quotes)
        if quote is None:
            return (yield from self._stream.match(_KEY)) or None
        pieces: list[str] = []
        is_whole = yield from self._text(quote, pieces.append)
        return "".join(pieces) if is_whole else None

    def _value(self, depth: int) -> Wait[bool]:
        stream = self._stream
        yield from stream.skip()
        quote = yield from stream.next_is(self._quotes)
        if quote is not None:
            self._emit('"')
            if not (yield from self._text(quote, lambda text: self._emit(_escaped(text)))):
                return False
            self._emit('"')
            return True
        c = yield from stream.peek()
        if c in ("[", "(", "{") and depth < _MAX_DEPTH:
            stream.drop(1)
            if c == "{":
                return (yield from self._items("{", "}", ":", depth))
            return (yield from self._items("[", "]" if c == "[" else ")", "", depth))
        scalar = yield from stream.match(_SCALAR)
        word = _WORDS.get(scalar, scalar)
        is_json = word in _WORDS.values() or _NUMBER.fullmatch(word)
        if stream.ran_out and not is_json:
            return False  # it may be the beginning of anything
        self._emit(word if is_json else json.dumps(word, ensure_ascii=False))
        return scalar != ""

    def _text(self, quote: str, emit: Emit) -> Wait[bool]:
        """Read a text from its first quote on; False if it is cut off."""
        stream = self._stream
        stream.drop(len(quote))
        marks = (quote, "\\") if self._has_escapes else (quote,)
        while mark := (yield from stream.until(marks, emit, in_call=True)):
            if mark == quote:
                return True
            c = yield from stream.peek()
            stream.drop(1)
            if c in _CODES:
                digits = ""
                while len(digits) < _CODES[c] and (yield from stream.peek()):
                    digits += stream.drop(1)
                emit(_character(digits))
            else:
                emit(_ESCAPES.get(c, c))
        return False


_CLOSING = {"{": "}", "[": "]"}


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _character(digits: str) -> str:
    try:
        return chr(int(digits, 16))
    except (ValueError, OverflowError):
        return "\ufffd"
