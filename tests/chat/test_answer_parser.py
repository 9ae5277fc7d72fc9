"""Thoughts and tool calls are found in what models of each family write, wherever it is divided."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from answer_scripts import SCRIPTS, TEMPLATES, TOOLS, Script, format_of

from oxillama_web.chat.answer_parser import (
    AnswerParser,
    CallArguments,
    CallStart,
    Content,
    Part,
    Reasoning,
)

NOW = [CallStart("now"), CallArguments("{}")]


def parse(family: str, pieces: Iterable[str], **options: Any) -> list[Part]:
    """Return the parts of an answer, equal kinds joined."""
    parser = AnswerParser(format_of(family), **{"tools": TOOLS, **options})
    parts = [part for piece in pieces for part in parser.push(piece)] + parser.finish()
    joined: list[Part] = []
    for part in parts:
        if joined and type(joined[-1]) is type(part) and not isinstance(part, CallStart):
            part = type(part)(joined.pop()[0] + part[0])
        joined.append(part)
    return joined


def check(family: str, text: str, expected: Sequence[Part], **options: Any) -> None:
    """The text has these parts, whole and letter by letter."""
    for pieces in ([text], text, [text[i : i + 3] for i in range(0, len(text), 3)]):
        assert parse(family, pieces, **options) == list(expected)


def weather(script: Script) -> list[Part]:
    return [CallStart("get_weather"), CallArguments(script.arguments)]


def closed(family: str) -> str:
    """What ends the thought that the prompt has begun, if it has."""
    format_ = format_of(family)
    if format_.thoughts and format_.opens_thought({}, with_tools=True):
        return format_.thoughts.end
    return ""


@pytest.mark.parametrize("family", SCRIPTS)
def test_calls_are_found(family: str) -> None:
    script, start = SCRIPTS[family], closed(family)
    one, both = weather(script), [*weather(script), *(NOW if script.second else [])]
    alone = script.first + script.end
    several = script.first + script.separator + script.second + script.end
    check(family, start + alone, one)
    check(family, start + several, both)
    if format_of(family).calls.triggers:
        check(family, start + "I look.\n\n" + alone, [Content("I look."), *one])
        check(family, f"{start}{several}\n", both)
    # without tools a call is text
    assert parse(family, start + alone, tools=[]) == [Content(alone)]


@pytest.mark.parametrize("family", SCRIPTS)
def test_a_call_that_is_cut_off_is_not_completed(family: str) -> None:
    script, start = SCRIPTS[family], closed(family)
    for length in range(0, len(script.first), 2):
        parts = parse(family, [start, script.first[:length]])
        text = "".join(part[0] for part in parts if isinstance(part, CallArguments))
        # a value whose type is not known before its end may be missing as a whole
        assert script.arguments.startswith(text)
        has_call = any(isinstance(part, CallStart) for part in parts)
        assert has_call or not text
        if not format_of(family).calls.triggers:
            continue
        # a beginning of a mark may be anything
        marks = format_of(family).calls.triggers
        for part in parts:
            if not isinstance(part, CallStart | CallArguments):
                assert any(len(part[0]) < len(mark) and mark.startswith(part[0]) for mark in marks)


@pytest.mark.parametrize("family", ["Qwen3", "LFM2.5", "Qwen3-Coder", "DeepSeek V3.1", "Gemma 4"])
def test_every_split_gives_the_same(family: str) -> None:
    script, start = SCRIPTS[family], closed(family)
    text = f"{start}First.\n{script.first}{script.separator}{script.second}{script.end}"
    whole = parse(family, [text])
    for at in range(1, len(text), 2):
        assert parse(family, [text[:at], text[at:]]) == whole


THINKING = {
    "Qwen3": ("<think>", "</think>"),
    "QwQ": ("<think>", "</think>"),
    "DeepSeek R1": ("<think>", "</think>"),
    "DeepSeek V3.1": ("<think>", "</think>"),
    "DeepSeek V3.2": ("<think>", "</think>"),
    "GLM 4.6": ("<think>", "</think>"),
    "LFM2.5": ("<think>", "</think>"),
    "MiniMax M2": ("<think>", "</think>"),
    "MiniCPM5": ("<think>", "</think>"),
    "Nemotron 3": ("<think>", "</think>"),
    "Seed-OSS": ("<seed:think>", "</seed:think>"),
    "Command R7B": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "Command A": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "Ministral 3": ("[THINK]", "[/THINK]"),
    "Gemma 4": ("<|channel>thought", "<channel|>"),
}


@pytest.mark.parametrize("family", TEMPLATES)
def test_marks_of_thoughts_are_found(family: str) -> None:
    thoughts = format_of(family).thoughts
    if family == "gpt-oss":
        assert format_of(family).is_harmony
    elif family == "SmolLM3":  # this one has no tools
        assert thoughts == ("<think>", "</think>")
    else:
        assert (thoughts and tuple(thoughts)) == THINKING.get(family)


@pytest.mark.parametrize("family", THINKING)
def test_thoughts_are_apart(family: str) -> None:
    script = SCRIPTS[family]
    start, end = THINKING[family]
    opened = "" if closed(family) else start
    answer = [Reasoning("Hm <b>.\n\nYes"), Content("Done.")]
    check(family, f"{opened}\nHm <b>.\n\nYes\n{end}\n\nDone.", answer)
    check(family, f"{opened}Hm", [Reasoning("Hm")])
    check(family, f"{opened}{end}Done.", [Content("Done.")])
    call = script.first + script.end
    check(family, f"{opened}Hm{end}\n\n{call}", [Reasoning("Hm"), *weather(script)])
    # a call in a thought ends it in the model's mind, or not
    check(family, f"{opened}Hm\n{call}", [Reasoning("Hm"), *weather(script)])


def test_a_prompt_may_have_begun_or_closed_the_thought() -> None:
    nemotron = {"tools": [], "variables": {"enable_thinking": True}}
    check("Nemotron 3", "Hm</think>Yes", [Reasoning("Hm"), Content("Yes")], **nemotron)
    nemotron["variables"] = {"enable_thinking": False}
    check("Nemotron 3", "Yes", [Content("Yes")], **nemotron)
    parser = AnswerParser(format_of("Nemotron 3"), [], {"enable_thinking": True})
    assert parser.is_thinking
    parser.push("Hm</think>")
    assert not parser.is_thinking


def test_marks_in_a_text_are_text() -> None:
    check("Qwen3", "Write <think> here.", [Content("Write <think> here.")])
    check("Qwen3", "a <tool_call>b</tool_call> c", [Content("a <tool_call>b</tool_call> c")])
    json_text = '{"name": "no tool", "parameters": {}} '
    check("Llama 3.1", json_text, [Content(json_text)])
    check("Llama 3.1", '{"a": 1}', [Content('{"a": 1}')])
    check("Qwen3", " x\n\n y \n", [Content(" x\n\n y \n")])


def test_unusual_calls() -> None:
    call = '<tool_call>{"id": [1], "arguments": "{\\"city\\": \\"x\\"}", "name": "get_weather"}'
    arguments = '{"city": "x"}'
    check("Qwen3", call, [CallStart("get_weather"), CallArguments(arguments)])
    check("Qwen3", '<tool_call>{"name": "now"}</tool_call>', NOW)
    check("Qwen3", '<tool_call>{"name": "other", "arguments": 5}', [
        CallStart("other"), CallArguments("5"),
    ])  # fmt: skip
    python = (
        "<|tool_call_start|>[get_weather(city=\"a'\\n\\x41\\u00e9\", days=None, tags=('x', -2e5,))]"
    )
    expected = {"city": "a'\nAé", "days": None, "tags": ["x", -2e5]}
    _, arguments_part = parse("LFM2", python)
    assert json.loads(arguments_part[0]) == expected
    cdata = (
        '<function name="get_weather"><param name="city"><![CDATA[</param>]]></param></function>'
    )
    check("MiniCPM5", cdata, [CallStart("get_weather"), CallArguments('{"city": "</param>"}')])
    deep = "<|tool_call_start|>[get_weather(city=" + "[" * 5000
    assert parse("LFM2", deep)[0] == CallStart("get_weather")
    deep = '<tool_call>{"name": "now", "arguments": ' + "[" * 5000
    assert parse("Qwen3", deep) == [CallStart("now"), CallArguments("[" * 5000)]


def test_harmony_channels() -> None:
    text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>"
    call = [CallStart("get_weather"), CallArguments('{"city": "x",  "factor": 1.0}')]
    arguments = '<|message|>{"city": "x",  "factor": 1.0}<|call|>'
    for header in (
        "commentary to=functions.get_weather <|constrain|>json",
        "commentary to=get_weather code",
    ):
        check("gpt-oss", text + header + arguments, [Reasoning("Hm."), *call])
    check("gpt-oss", " to=functions.get_weather<|channel|>commentary json" + arguments, call)
    preamble = "commentary<|message|>I look.<|end|><|start|>assistant"
    several = f"<|channel|>commentary to=functions.get_weather{arguments}"
    expected = [Reasoning("Hm."), Content("I look."), *call]
    check("gpt-oss", text + preamble + several, expected)
    check("gpt-oss", text + preamble + several + "<|start|>assistant" + several, [*expected, *call])
    check("gpt-oss", text + "final<|message|>Yes.<|return|>", [Reasoning("Hm."), Content("Yes.")])
    check("gpt-oss", text + "fin", [Reasoning("Hm.")])
    check("gpt-oss", "No channel", [Content("No channel")])
