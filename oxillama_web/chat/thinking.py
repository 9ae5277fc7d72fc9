"""The marks around a model's thoughts, found by comparing what its chat template writes.

As llama.cpp's analysis of templates does, no list of models is needed: a template that takes
thoughts writes them between marks, one that can switch thinking off writes an empty thought, and
one that only takes texts drops what precedes the end mark.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .probes import ANSWER, THOUGHT, Probe, calls, common_start

_FIELDS = ("reasoning_content", "thinking", "reasoning", "thoughts")
_PARTS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": THOUGHT},
    {"type": "text", "text": ANSWER},
]
_MARK = re.compile(r"<[^<>]+>|\[[^\[\]\s]+\]")
_END_MARK = re.compile(r"</[^<>\s']+>|\[/[A-Z_]+\]|<\|END_[A-Z_]+\|>")
_EMPTY_THOUGHT = re.compile(r"<[^<>/]+>\s*(</[^<>]+>)\s*$")


class ThoughtMarks(NamedTuple):
    """What a model writes before and after a thought, without white space around it."""

    start: str
    end: str


def thought_marks(probe: Probe) -> ThoughtMarks | None:
    """Return the marks of a template's thoughts, or None if it has none."""
    return _written(probe) or _switched(probe) or _dropped(probe) or _prompted(probe)


def opens_thought(prompt: str, marks: ThoughtMarks) -> bool:
    """Return whether a prompt ends inside of a thought."""
    start = prompt.rfind(marks.start)
    return start >= 0 and prompt.find(marks.end, start + len(marks.start)) < 0


def _written(probe: Probe) -> ThoughtMarks | None:
    """The marks of a template that writes thoughts of their own."""
    thought = dict.fromkeys(_FIELDS, THOUGHT)
    with_text = probe.answer({"content": ANSWER, **thought})
    if THOUGHT not in with_text:
        with_text = probe.answer({"content": _PARTS})
        with_text *= "type" not in with_text  # a template without parts writes the list itself
    # some templates write the thoughts of this turn's calls only
    with_call = probe.answer({"tool_calls": calls({}), **thought}, with_tools=True)
    written = [text for text in (with_text, with_call) if THOUGHT in text]
    if not written:
        return None
    before, _, after = written[0].partition(THOUGHT)
    if with_text in written:
        after = after.partition(ANSWER)[0]
    elif mark := _MARK.search(after):
        after = after[: mark.end()]
    if len(written) == 2:
        after = common_start(after, with_call.partition(THOUGHT)[2]) or after
    prompt = probe.prompt()
    header = common_start(before, probe.answer({"content": ANSWER}).partition(ANSWER)[0], prompt)
    # the prompt may have begun the thought
    start = before[len(header) :].strip() or prompt[len(header) :].strip()
    return _pair(before, start, after.strip())


def _switched(probe: Probe) -> ThoughtMarks | None:
    """The marks of thoughts that are empty where enable_thinking is off, or where there is none."""
    on, off = (
        probe.prompt({"enable_thinking": value, "thinking": value}) for value in (True, False)
    )
    same = len(common_start(on, off))
    for text in (off, on):
        if ends := _END_MARK.findall(text[same:]):
            return _pair(text, "", ends[-1])
    empty = _EMPTY_THOUGHT.search(probe.answer({"content": ANSWER}).partition(ANSWER)[0])
    return _pair("", "", empty[1]) if empty else None


def _dropped(probe: Probe) -> ThoughtMarks | None:
    """The marks of a template that drops what precedes the end mark."""
    for end in dict.fromkeys(_END_MARK.findall(probe.source)):
        rendered = probe.earlier_answer(f"{THOUGHT}{end}{ANSWER}")
        if ANSWER in rendered and THOUGHT not in rendered:
            return _pair("", "", end)
    return None


def _prompted(probe: Probe) -> ThoughtMarks | None:
    """The marks of a template whose prompt ends with the start of a thought."""
    marks = [mark for mark in _MARK.findall(probe.prompt()[-40:]) if mark.startswith("<")]
    end = marks[-1].replace("<", "</", 1) if marks else ""
    return _pair("", "", end) if end and end in probe.source else None


def _pair(before: str, start: str, end: str) -> ThoughtMarks | None:
    """Return the marks, the start by its end where that is its counterpart."""
    ends = _END_MARK.findall(end)
    if ends:
        counterpart = ends[0].replace("/", "", 1).replace("END_", "START_")
        if not start or counterpart in before:
            start, end = counterpart, ends[0]
    return ThoughtMarks(start, end) if start and end else None
