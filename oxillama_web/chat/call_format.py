"""How a model writes tool calls, found in how its chat template writes those of the history.

A template is asked to write made-up calls. Around their names, keys and values stand the texts that
the model was trained to write.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NamedTuple

from .probes import ANSWER, IDS, KEYS, NAMES, NUMBER, TEXTS, Probe, calls, common_end, common_start

# Stands for what differs from call to call in a text of a format: an id, or the call's index.
ANY = "\0"
_PART = re.compile(r"<[^<>]*>|\[[A-Z_/]+\]|<[^<>]*$|[^\s<\[]+|\S")


class Tagged(NamedTuple):
    """Arguments whose keys and values stand between marks.

    Attributes:
        key: before each key.
        text: between the key and a text.
        other: between the key and any other value, which is JSON.
        end: after each value.
    """

    key: str
    text: str
    other: str
    end: str


class CallFormat(NamedTuple):
    """The texts of calls. Where they have white space a model may write any or none.

    Attributes:
        kind: "object" is one JSON object with name and arguments; "keyed" is one whose only key is
            the name. In the others a name is followed by the arguments: as JSON, as Python's
            keyword arguments ("python"), as pairs with bare keys ("loose"), or between marks
            ("tagged").
        section: before the first call.
        open: before each call, up to the object or the name.
        middle: between the name and the arguments.
        close: after the object or the arguments.
        separator: between two calls.
        section_end: after the last call.
        lead: what precedes the name's key in an "object".
        name_key, arguments_key: the keys of an "object".
        tagged: of that kind.
        quote: the mark around texts in "loose" arguments.
    """

    kind: Literal["object", "keyed", "json", "python", "loose", "tagged"]
    section: str = ""
    open: str = ""
    middle: str = ""
    close: str = ""
    separator: str = ""
    section_end: str = ""
    lead: str = ""
    name_key: str = "name"
    arguments_key: str = "arguments"
    tagged: Tagged = Tagged("", "", "", "")
    quote: str = ""

    @property
    def marks(self) -> list[str]:
        """All parts of the texts of calls."""
        texts = (self.section, self.open, self.middle, self.close, self.separator, self.section_end)
        return [part for text in (*texts, self.quote, *self.tagged) for part in parts(text)]

    @property
    def triggers(self) -> tuple[str, ...]:
        """The marks with which a call begins; none if it begins without one."""
        marks = [parts(text)[:1] for text in (self.section + self.open, self.open)]
        return tuple(dict.fromkeys(m[0] for m in marks if m and m[0][0] in "<[" and m[0] != "["))


HERMES = CallFormat("object", open="<tool_call>\n", close="\n</tool_call>", separator="\n")
_PYTHON = CallFormat(
    "python",
    section="<|tool_call_start|>[",
    middle="(",
    close=")",
    separator=", ",
    section_end="]<|tool_call_end|>",
)
# Formats of templates that do not write the calls of the history, by a mark of theirs.
_TOLD = {
    "<|tool_call_start|>": _PYTHON,
    "<|tool_list_start|>": _PYTHON,
    "List of tools: [": _PYTHON,  # LFM2.5, which has its marks in its vocabulary alone
    "<|tool_call|>": CallFormat(
        "object", section="<|tool_call|>[", separator=", ", section_end="]"
    ),
    "<｜tool▁calls▁begin｜>": CallFormat(
        "json",
        section="<｜tool▁calls▁begin｜>",
        open="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        middle="\n```json\n",
        close="\n```<｜tool▁call▁end｜>",
        separator="\n",
        section_end="<｜tool▁calls▁end｜>",
    ),
    "<|tool_calls_section_begin|>": CallFormat(
        "json",
        section="<|tool_calls_section_begin|>",
        open="<|tool_call_begin|>functions.",
        middle=f":{ANY}<|tool_call_argument_begin|>",
        close="<|tool_call_end|>",
        section_end="<|tool_calls_section_end|>",
    ),
    "<tool_call>": HERMES,
}
# without any mark, at the beginning of an answer
_BARE = CallFormat("object")


def parts(text: str) -> list[str]:
    """Return the marks and words of a format's text, without white space."""
    return _PART.findall(text)


def call_format(probe: Probe) -> CallFormat:
    """Return how a model writes calls: as its template does, as its prompt says, or bare JSON."""
    written = _Written.by(probe)
    found = written.format() if written else None
    if found:
        return found
    told = probe.tools_prompt()
    return next((f for mark, f in _TOLD.items() if mark in told or mark in probe.source), _BARE)


class _Written:
    """Two calls as a template writes them, of which the second may be missing.

    Args:
        text: from the section's beginning.
        end: what follows an answer without calls.
        empty: what follows the name of a call without arguments.
    """

    ARGUMENTS = ({KEYS[0]: TEXTS[0], KEYS[1]: NUMBER}, {KEYS[0]: TEXTS[1]})

    def __init__(self, text: str, end: str, empty: str) -> None:
        self._text = text
        self._end = end
        self._empty = empty
        # where the names of the two calls begin
        self._names = [text.find(name) for name in NAMES if name in text]

    @classmethod
    def by(cls, probe: Probe) -> _Written | None:
        """Render the calls; None if the template does not write them."""
        plain = probe.answer({"content": ANSWER}, with_tools=True)
        header, _, end = plain.partition(ANSWER)
        prompt = probe.prompt(with_tools=True)
        for content in ("", ANSWER):
            empty = probe.answer({"content": content, "tool_calls": calls({})}, with_tools=True)
            for arguments in (cls.ARGUMENTS, cls.ARGUMENTS[:1]):
                message = {"content": content, "tool_calls": calls(*arguments)}
                text = probe.answer(message, with_tools=True)
                if TEXTS[0] in text.partition(NAMES[0])[2]:
                    n = max(len(common_start(text, other)) for other in (header, prompt))
                    return cls(text[n:], end, empty.partition(NAMES[0])[2])
        return None

    def format(self) -> CallFormat | None:
        """Return the format, or None if it is none of the kinds."""
        return self._as_object() or self._as_json() or self._as_pairs()

    def _as_object(self) -> CallFormat | None:
        """The format of one JSON object with name and arguments."""
        found = [self._object(name) for name in self._names]
        if None in found:
            return None
        spans = [span for span in found if span]
        marks = self._around([(start, stop) for start, stop, _ in spans])
        start, _, value = spans[0]
        keys = {_role(item): key for key, item in value.items()}
        if NAMES[0] in value:
            return CallFormat("keyed", **marks)
        if not {"name", "arguments"} <= set(keys):
            return None
        lead = self._text[start + 1 : self._text.find(f'"{keys["name"]}"', start)]
        return CallFormat(
            "object",
            **marks,
            lead=re.sub(r"\d+", ANY, _masked(lead)) if "arguments" not in lead else "",
            name_key=keys["name"],
            arguments_key=keys["arguments"],
        )

    def _as_json(self) -> CallFormat | None:
        """The format of a name and a JSON object."""
        spans, middles = [], []
        for name, at, arguments in zip(NAMES, self._names, self.ARGUMENTS, strict=False):
            start = self._text.find("{", at)
            found = _decode(self._text, start) if start >= 0 else None
            if found is None or found[0] != arguments:
                return None
            spans.append((at, found[1]))
            middles.append(_masked(self._text[at + len(name) : start]))
        return CallFormat("json", middle=_differing(*middles), **self._around(spans))

    def _as_pairs(self) -> CallFormat | None:
        """The format of arguments that are written one by one."""
        rest = self._text[self._names[0] + len(NAMES[0]) :]
        head, _, rest = rest.partition(KEYS[0])
        first, _, rest = rest.partition(TEXTS[0])
        between, _, rest = rest.partition(KEYS[1])
        second, number, rest = rest.partition(str(NUMBER))
        if not number:
            return None
        after_text = self._text.rpartition(TEXTS[1])[2] or rest
        if head.endswith("(") and first[:1] == "=":
            marks = self._around(self._spans("", after_text[:1]))
            return CallFormat("python", middle="(", **marks)
        quote = first.removeprefix(second)
        if quote and head.endswith("{") and after_text.startswith(quote + "}"):
            marks = self._around(self._spans("}", quote + "}"))
            return CallFormat("loose", middle=head.removesuffix("{"), quote=quote, **marks)
        middle = common_start(head, self._empty)
        key = head[len(middle) :]
        end = common_start(between.removesuffix(key), after_text)
        if not key or not end.strip():
            return None
        marks = self._around(self._spans(end, end))
        tagged = Tagged(key, first, second, end)
        return CallFormat("tagged", middle=_masked(middle), tagged=tagged, **marks)

    def _object(self, name: int) -> tuple[int, int, dict[str, Any]] | None:
        """Return the JSON object around a name: where it begins and ends, and its value."""
        for start in range(name - 1, -1, -1):
            if self._text[start] == "{":
                found = _decode(self._text, start)
                if found and found[1] > name:
                    return start, found[1], found[0]
        return None

    def _spans(self, after_number: str, after_text: str) -> list[tuple[int, int]]:
        """Return where calls begin and end, by what follows their last arguments."""
        lasts = ((str(NUMBER), after_number), (TEXTS[1], after_text))
        return [
            (at, self._text.find(last, at) + len(last + after))
            for at, (last, after) in zip(self._names, lasts, strict=False)
        ]

    def _around(self, spans: list[tuple[int, int]]) -> dict[str, Any]:
        """Divide the texts around calls, which are from their names or objects on."""
        before = _masked(self._text[: spans[0][0]])
        after = self._text[spans[-1][1] :]
        if self._end and after.endswith(self._end):
            after = after[: -len(self._end)]
        after = _masked(_OPEN_MARK.sub("", after))
        if len(spans) == 1:
            return {"open": before, "close": after}
        between = _masked(self._text[spans[0][1] : spans[1][0]])
        open_ = common_end(before, between)
        rest = between[: len(between) - len(open_)]
        close = common_start(rest, after)
        return {
            "section": before[: len(before) - len(open_)],
            "open": open_,
            "close": close,
            "separator": rest[len(close) :],
            "section_end": _FIRST_MARK.sub(r"\1", after[len(close) :]),
        }


_FIRST_MARK = re.compile(r"^([^<]*<[^<>]*>).*", re.DOTALL)
_OPEN_MARK = re.compile(r"<[^<>]*$")


def _decode(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    try:
        value, stop = json.JSONDecoder().raw_decode(text, at)
    except ValueError:
        return None
    return (value, stop) if isinstance(value, dict) else None


def _role(value: Any) -> str:
    if value == NAMES[0]:
        return "name"
    return "arguments" if value == _Written.ARGUMENTS[0] else ""


def _masked(text: str) -> str:
    for id_ in (*IDS, *NAMES):
        text = text.replace(id_, ANY)
    return text


def _differing(first: str, second: str = "") -> str:
    """Return a text whose number is another one in each call, such as an index, with ANY."""
    numbers = re.sub(r"\d+", ANY, first)
    return numbers if first != second and numbers == re.sub(r"\d+", ANY, second) else first
