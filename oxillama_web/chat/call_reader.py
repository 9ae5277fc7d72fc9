"""Reads tool calls from the text of an answer, in the format that their template writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from .call_format import CallFormat, parts
from .pairs import read_loose_arguments, read_python_arguments
from .text_stream import Emit, TextStream, Wait

_NAME = re.compile(r"[\w.\-/]+")
_CDATA = ("<![CDATA[", "]]>")
_TEXT_TYPES = ({"string"}, {"string", "null"})


class CallReader:
    """Reads the calls that follow a trigger.

    Args:
        stream: the text of the answer.
        format_: of the calls.
        tools: as the request has them.
        start: is told each call's name. It returns whether that is a call.
        emit: is given the arguments' JSON text.
    """

    def __init__(
        self,
        stream: TextStream,
        format_: CallFormat,
        tools: Sequence[Mapping[str, Any]],
        start: Callable[[str], bool],
        emit: Emit,
    ) -> None:
        self._stream = stream
        self._format = format_
        self._start = start
        self._emit = emit
        functions = [tool["function"] for tool in tools]
        self._parameters = {f["name"]: f.get("parameters") or {} for f in functions}
        self._is_object = format_.kind in ("object", "keyed")
        ends = (format_.close, format_.separator, format_.section_end)
        self._ends = {part for text in ends for part in parts(text)} | {"]", ",", ";"}

    def read(self, trigger: str) -> Wait[bool]:
        """Read the calls after a trigger; False if what follows it is no call."""
        first = True
        while True:
            is_call = yield from self._call(trigger if first else None)
            if not is_call:
                return not first
            first = False
            separators = yield from self._between()
            if self._is_object:
                has_more = (yield from self._stream.peek()) == "{"
            else:
                has_more = self._format.kind == "python" and separators[-1:] == [","]
            if not has_more:
                return True

    def _call(self, trigger: str | None) -> Wait[bool]:
        format_, stream = self._format, self._stream
        if self._is_object or format_.kind == "python":
            yield from stream.skip("[,;")
            if self._is_object:
                return (yield from self._object())
        else:
            opening = parts(format_.section + format_.open)
            if opening[:1] != [trigger]:
                opening = parts(format_.open)
            if not (yield from stream.take("\n".join(opening[1:]))):
                return False
        yield from stream.skip()
        name = yield from stream.match(_NAME)
        if not name or not (yield from stream.peek()) or not self._start(name):
            return False
        yield from stream.take(format_.middle)
        if format_.kind == "json":
            yield from stream.skip()
            if (yield from stream.peek()) == "{":
                yield from stream.json_value(self._emit)
        elif format_.kind == "tagged":
            yield from self._tagged_arguments(name)
        elif format_.kind == "python":
            yield from read_python_arguments(stream, self._emit)
        else:
            yield from read_loose_arguments(stream, self._emit, format_.quote)
        return True

    def _between(self) -> Wait[list[str]]:
        """Read what stands between calls and after the last one."""
        found: list[str] = []
        while True:
            yield from self._stream.skip()
            end = yield from self._stream.next_is(self._ends)
            if end is None:
                return found
            found.append(self._stream.drop(len(end)))

    def _object(self) -> Wait[bool]:
        """Read {"name": ..., "arguments": {...}}, or {name: {...}}."""
        stream, format_ = self._stream, self._format
        if (yield from stream.peek()) != "{":
            return False
        stream.drop(1)
        name: str | None = None
        kept: list[str] = []
        has_arguments = False
        while (yield from stream.skip(",")) is not None and (yield from stream.peek()) == '"':
            key = yield from stream.json_string()
            yield from stream.skip()
            if key is None or (yield from stream.next_is([":"])) is None:
                return name is not None
            stream.drop(1)
            yield from stream.skip()
            if format_.kind == "keyed" and name is None:
                name = key
                if not self._start(name):
                    return False
                has_arguments = yield from self._arguments(self._emit)
            elif key in (format_.name_key, "name") and name is None:
                name = yield from stream.json_string()
                if name is None or not self._start(name):
                    return False
                for text in kept:
                    self._emit(text)
            elif key in (format_.arguments_key, "arguments", "parameters") and not has_arguments:
                has_arguments = True
                yield from self._arguments(self._emit if name is not None else kept.append)
            elif not (yield from stream.json_value(_ignore)):
                return name is not None
        if name is not None and (yield from stream.peek()) == "}":
            stream.drop(1)
            if not has_arguments:
                self._emit("{}")
        return name is not None

    def _arguments(self, emit: Emit) -> Wait[bool]:
        """Read a value that is the arguments, or their JSON text as a string."""
        if (yield from self._stream.peek()) != '"':
            yield from self._stream.json_value(emit)
        elif text := (yield from self._stream.json_string()):
            emit(text)
        return True

    def _tagged_arguments(self, name: str) -> Wait[None]:
        """Read arguments between marks, and pass them on as a JSON object."""
        stream, tagged = self._stream, self._format.tagged
        key_mark, close = parts(tagged.key)[0], (parts(self._format.close) or [""])[0]
        properties = self._parameters.get(name, {}).get("properties", {})
        separator = "{"
        while True:
            mark = yield from stream.until((key_mark, close), _ignore)
            if mark is None:
                return
            if mark == close:
                self._emit("{}" if separator == "{" else "}")
                return
            yield from stream.take("\n".join(parts(tagged.key)[1:]))
            key: list[str] = []
            heads = {parts(text)[0] for text in (tagged.text, tagged.other)}
            head = yield from stream.until(heads, key.append)
            if head is None:
                return
            kind = yield from self._rest_of_mark(head)
            if stream.ran_out:
                return
            self._emit(separator + json.dumps("".join(key).strip(), ensure_ascii=False) + ": ")
            separator = ", "
            schema = properties.get("".join(key).strip(), {})
            if not (yield from self._tagged_value(kind, _value_types(schema))):
                return

    def _rest_of_mark(self, head: str) -> Wait[str | None]:
        """Read what follows a key; return "text" or "other" where that shows the value's type."""
        tagged = self._format.tagged
        if tagged.text == tagged.other:
            yield from self._stream.take("\n".join(parts(tagged.text)[1:]))
            kind = None
        else:
            texts = {"text": tagged.text, "other": tagged.other}
            rests = {name: parts(text)[1:] for name, text in texts.items()}
            firsts = {rest[0]: name for name, rest in rests.items() if rest}
            yield from self._stream.skip()
            found = yield from self._stream.next_is(firsts)
            kind = firsts.get(found or "", "other")
            yield from self._stream.take("\n".join(rests[kind]))
        if tagged.text.endswith("\n") and (yield from self._stream.peek()) == "\n":
            self._stream.drop(1)
        return kind

    def _write_text(self, text: str) -> None:
        """Pass on a part of a text as that of a JSON string."""
        self._emit(json.dumps(text, ensure_ascii=False)[1:-1])

    def _tagged_value(self, kind: str | None, types: Collection[str]) -> Wait[bool]:
        """Read one value; False if it is cut off."""
        end = self._format.tagged.end.strip()
        mark = parts(end)[0]
        is_text = kind == "text" or (kind is None and types in _TEXT_TYPES)
        # a line break before the mark belongs to it if the format has one
        marks = ("\n" + mark, mark) if self._format.tagged.end.startswith("\n") else (mark,)
        if is_text:
            self._emit('"')
            write = self._write_text
            # XML's way to write marks that are none
            if (yield from self._stream.next_is([_CDATA[0]])):
                self._stream.drop(len(_CDATA[0]))
                yield from self._stream.until(_CDATA[1:], write, in_call=True)
            found = yield from self._stream.until(marks, write, in_call=True)
            if found is not None:
                self._emit('"')
        else:
            pieces: list[str] = []
            found = yield from self._stream.until(marks, pieces.append)
            if found is not None:
                self._emit(_as_json("".join(pieces), "string" in types or not types))
        if found is not None:
            yield from self._stream.take("\n".join(parts(end)[1:]))
        return found is not None


def _value_types(schema: Any) -> set[str]:
    """Return the types that a schema names; none if it does not say."""
    types = schema.get("type", []) if isinstance(schema, Mapping) else []
    return {types} if isinstance(types, str) else set(types)


def _as_json(text: str, may_be_text: bool) -> str:
    """Return a value's text as JSON: unchanged if it is, else as a string."""
    value = text.strip()
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        value = {"True": "true", "False": "false", "None": "null"}.get(value, "")
    if not value or (may_be_text and value[0] == '"'):
        return json.dumps(text, ensure_ascii=False)
    return value


def _ignore(text: str) -> None:
    """Take text that is no part of a call."""
