"""Calls that follow the lazy grammar are found by the parser, and their arguments validate."""

from __future__ import annotations

import json
import random
from array import array
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from answer_scripts import SCRIPTS, TEMPLATES, format_of
from grammar_helpers import LOGITS_OPS, Tokens
from test_answer_parser import closed, parse

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.chat.answer_format import HARMONY_MARKS
from oxillama_web.chat.answer_parser import (
    AnswerParser,
    CallArguments,
    CallStart,
    Content,
    Reasoning,
)
from oxillama_web.chat.call_grammar import call_rules, lazy_trigger
from oxillama_web.chat.constraints import AnswerConstraints
from oxillama_web.errors import GrammarError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["c", "f <b>"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "exact": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now", "parameters": {"properties": {}}}},
]
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
FAMILIES = [*SCRIPTS, "gpt-oss"]


def tokens_of(family: str, *, with_control: bool) -> Tokens:
    """Every byte, and the marks of a family as tokens of their own, as control tokens or text."""
    format_ = format_of(family)
    marks = [m for m in format_.calls.marks if m[0] in "<[" and m[-1] in ">]" and len(m) > 2]
    marks += HARMONY_MARKS if format_.is_harmony else ()
    texts = [bytes([byte]) for byte in range(256)] + [m.encode() for m in dict.fromkeys(marks)]
    control = frozenset(range(256, len(texts))) if with_control else frozenset()
    return Tokens(texts, control)


def constraints(family: str, tokens: Tokens) -> AnswerConstraints:
    return AnswerConstraints(format_of(family), tokens, LOGITS_OPS["numpy"], {})


def walk(family: str, tokens: Tokens, chance: random.Random, start: str, **options: Any) -> str:
    """Return a start, and what a model goes on with that is only held by the grammar."""
    return walk_on(
        constraints(family, tokens).of_calls(TOOLS, {}, **options), tokens, chance, start
    )


def walk_on(constraint: Any, tokens: Tokens, chance: random.Random, start: str) -> str:
    text = b""
    while rest := start.encode()[len(text) :]:
        marks = [
            t for t in range(256, tokens.n_vocab - 1) if rest.startswith(tokens.token_bytes(t))
        ]
        token = marks[0] if marks else rest[0]
        constraint.advance(token)
        text += tokens.token_bytes(token)
    liked = [*b'"}])<>/\n', *range(256, tokens.n_vocab)]
    for _ in range(3000):
        logits = array("f", [chance.random() for _ in range(tokens.n_vocab)])
        for token in chance.sample(liked, len(liked) // 2):
            logits[token] += 0.5
        logits[tokens.n_vocab - 1] += 0.8
        view = memoryview(logits)
        allowed = constraint.restrict(view, 1)
        token = allowed[0][0] if allowed else max(range(tokens.n_vocab), key=logits.__getitem__)
        constraint.advance(token)
        if token in tokens.eog_ids:
            return text.decode()
        text += tokens.token_bytes(token)
    raise AssertionError(f"it does not end: {text[:300]!r}")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_control", [False, True])
def test_arguments_validate(family: str, with_control: bool) -> None:
    tokens = tokens_of(family, with_control=with_control)
    for seed in range(2):
        chance = random.Random(f"{family} {seed}")
        trigger = lazy_trigger(format_of(family).calls)
        start = "<|channel|>commentary" if family == "gpt-oss" else closed(family)
        text = walk(family, tokens, chance, start + trigger)
        parts = parse(family, [text], tools=TOOLS)
        names = [part[0] for part in parts if isinstance(part, CallStart)]
        arguments = [part[0] for part in parts if isinstance(part, CallArguments)]
        assert names, text
        for name, value in zip(names, arguments, strict=True):
            jsonschema.validate(json.loads(value, strict=False), SCHEMAS[name])
        assert not any(isinstance(part, Content) for part in parts), text


@pytest.mark.parametrize("family", ["Qwen3", "Llama 3.1", "Nemotron 3", "Gemma 4"])
def test_an_answer_that_must_call_begins_with_a_call(family: str) -> None:
    tokens = tokens_of(family, with_control=False)
    chance = random.Random(family)
    text = walk(family, tokens, chance, closed(family), must_call=True, max_calls=1)
    parts = parse(family, [text], tools=TOOLS)
    found = [type(part) for part in parts if not isinstance(part, Reasoning)]
    assert found == [CallStart, CallArguments]


@pytest.mark.parametrize(
    ("family", "start", "allowed"),
    [
        ("Qwen3", "", b"y< \t\r\n"),
        ("Qwen3", "ye", b"s"),
        ("Qwen3", "<think>maybe</think>\n\nye", b"s"),
        ("Qwen3", "<think>maybe </thin", None),
        ("Nemotron 3", "maybe\n", None),
        ("Nemotron 3", "maybe\n</think>ye", b"s"),
        ("Llama 3.1", "", b"y"),
    ],
)
def test_a_grammar_holds_the_answer_and_not_the_thought(
    family: str, start: str, allowed: bytes | None
) -> None:
    tokens = tokens_of(family, with_control=False)
    constraint = constraints(family, tokens).of_grammar('root ::= "yes"', {}, with_tools=False)
    for byte in start.encode():
        constraint.advance(byte)
    found = constraint.restrict(memoryview(array("f", bytes(4 * tokens.n_vocab))), None)
    if allowed is None:
        # any text; bytes that begin no character are excluded
        assert found is None or len(found[0]) > 100
    else:
        assert found is not None and {t for t in found[0] if t < 256} == set(allowed)


def test_nothing_is_restricted_before_a_call() -> None:
    tokens = tokens_of("Qwen3", with_control=False)
    for start, is_held in (
        ("Hello <tool_", False),
        ("Hello <tool_call>", True),
        ("<think>Shall I write <tool_call>?", False),
        ("<think>No</think><tool_call>\n", True),
        ("I write <think> and <tool_call>\n{", True),
    ):
        constraint = constraints("Qwen3", tokens).of_calls(TOOLS, {})
        for byte in start.encode():
            constraint.advance(byte)
        logits = memoryview(array("f", bytes(4 * tokens.n_vocab)))
        allowed = constraint.restrict(logits, None)
        assert (allowed is not None) == is_held, start
    # bare JSON triggers only where an answer begins
    for start, is_held in (('{"name": "', True), ('x {"name": "', False), ('\n{"name": "', True)):
        constraint = constraints("Llama 3.1", tokens).of_calls(TOOLS, {})
        for byte in start.encode():
            constraint.advance(byte)
        allowed = constraint.restrict(memoryview(array("f", bytes(4 * tokens.n_vocab))), None)
        assert (allowed is not None) == is_held, start


def test_a_schema_that_cannot_be_kept_is_any_object_unless_it_is_strict() -> None:
    function = {"name": "f", "parameters": {"not": {"required": ["a"]}, "$ref": "#/nowhere"}}
    format_ = format_of("Qwen3").calls
    tokens = tokens_of("Qwen3", with_control=False)
    assert call_rules(format_, [{"type": "function", "function": function}], tokens)
    strict = {"type": "function", "function": {**function, "strict": True}}
    with pytest.raises(GrammarError):
        call_rules(format_, [strict], tokens)


def test_a_model_writes_a_call_of_its_template_s_format(smollm2_path: Path) -> None:
    config = EngineConfig(model_path=str(smollm2_path), sampler=SamplerConfig.greedy())
    engine = InferenceEngine(config)
    engine.load_model()
    engine.model.chat_template = TEMPLATES["Qwen2.5"]
    question = "How is the weather in Paris? Call get_weather."
    constraint = engine.model.answer_constraints.of_calls(TOOLS, {}, must_call=True, max_calls=1)
    messages = [{"role": "user", "content": question}]
    events = list(engine.chat_events(messages, 100, tools=TOOLS, constraint=constraint))
    assert events[-1].finish_reason == "stop"
    parser = AnswerParser(engine.model.answer_format, TOOLS)
    parts = [part for event in events for part in parser.push(event.text)] + parser.finish()
    assert parts[0] == CallStart("get_weather")
    arguments = "".join(part[0] for part in parts if isinstance(part, CallArguments))
    jsonschema.validate(json.loads(arguments), SCHEMA)
    engine.close()
