"""Chat completions: shapes, messages, tools and formats, with answers that are written here."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from scripted_answers import Script

from oxillama_web import InferenceEngine
from oxillama_web.openai import APIError, OpenAI

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}
OTHER = {"type": "function", "function": {"name": "g"}}


def ask(client: OpenAI, **request: object) -> dict:
    """Answer a request as a whole and as a stream, which must add up to the same."""
    request = {"messages": HI, **request}
    whole = client.chat.completions.create(**request)
    ChatCompletion.model_validate(whole, strict=True)
    chunks = list(client.chat.completions.create(**request, stream=True))
    content, calls = "", {}
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        delta = chunk["choices"][0]["delta"]
        content += delta.get("content") or ""
        for call in delta.get("tool_calls", ()):
            name, arguments = calls.get(call["index"], ("", ""))
            function = call["function"]
            name += function.get("name", "")
            calls[call["index"]] = (name, arguments + function["arguments"])
    message = whole["choices"][0]["message"]
    assert content == (message["content"] or "")
    functions = [call["function"] for call in message.get("tool_calls", ())]
    assert list(calls.values()) == [(each["name"], each["arguments"]) for each in functions]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    return whole["choices"][0]


def test_a_real_answer(client: OpenAI, engine: InferenceEngine) -> None:
    engine.reset()
    expected = "".join(engine.chat(HI, 10))
    options = {"messages": HI, "max_completion_tokens": 10, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**options, n=2)
    ChatCompletion.model_validate(whole, strict=True)
    assert [choice["message"]["content"] for choice in whole["choices"]] == [expected] * 2
    assert whole["usage"]["completion_tokens"] == 20
    tokens = whole["choices"][0]["logprobs"]["content"]
    assert len(tokens) == 10 and all(len(token["top_logprobs"]) == 2 for token in tokens)
    assert all(token["logprob"] == token["top_logprobs"][0]["logprob"] for token in tokens)


def test_messages_become_those_of_the_template(client: OpenAI, scripted: Script) -> None:
    arguments = '{"id":2512292042121000001,"x":1.0,"m":{"b":1,"10":2}}'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    empty = {"id": "d", "type": "function", "function": {"name": "f", "arguments": ""}}
    as_object = {"id": "e", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    messages = [
        {"role": "developer", "content": "brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call, empty]},
        {"role": "assistant", "content": "", "annotations": [], "tool_calls": [as_object]},
        {"role": "tool", "tool_call_id": "c", "content": "7"},
    ]
    ask(client, messages=messages)
    spaced = arguments.replace(":", ": ").replace(",", ", ")
    assert scripted.prompt == (
        f'<system>brief;<user>ab;<assistant>{spaced}{{}};<assistant>{{"a": 1}};<tool>7;'
    )


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_a_choice_that_leaves_the_model_free(
    client: OpenAI, scripted: Script, choice: str | None
) -> None:
    assert ask(client, tools=[TOOL], tool_choice=choice)["message"]["content"] == "ok"
    assert ('"name": "f"' in scripted.prompt) == (choice != "none")
    assert scripted.options["sampler"].json_schema is None


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["f", "g"]),
        ({"type": "function", "function": {"name": "g"}}, ["g"]),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}, ["f"]),
    ],
)
def test_a_call_that_is_forced(
    client: OpenAI, scripted: Script, choice: object, names: list[str]
) -> None:
    arguments = '{"id": 2512292042121000001, "x": 1.0, "deep": {"b": {}}}'
    text = f'{{"name": "{names[-1]}", "arguments": {arguments}}}'
    for size in (1, 5, len(text)):
        scripted.pieces = [text[i : i + size] for i in range(0, len(text), size)]
        answer = ask(client, tools=[TOOL, OTHER], tool_choice=choice)
        (call,) = answer["message"]["tool_calls"]
        assert call["function"] == {"name": names[-1], "arguments": arguments}
        assert answer["message"]["content"] is None and answer["finish_reason"] == "tool_calls"
        constraint = scripted.options["constraint"]
        assert not constraint.follow(b'{"a')
        assert constraint.follow(b'{"name": "')
        assert not constraint.follow(b"h")
        assert constraint.follow(f'{names[-1]}", "arguments": '.encode())
        assert not constraint.follow(b"7")


def test_nothing_is_invented_for_a_call_that_is_cut_off(client: OpenAI, scripted: Script) -> None:
    text = '{"name": "f", "arguments": {"a": {"b": 1}}}'
    scripted.finish_reason = "length"
    for end in range(1, len(text)):
        scripted.pieces = [text[:end]]
        answer = ask(client, tools=[TOOL], tool_choice="required")
        calls = answer["message"].get("tool_calls", [])
        start = text.index('{"a"')
        expected = text[start : min(end, len(text) - 1)]
        assert "".join(call["function"]["arguments"] for call in calls) == expected
        assert answer["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_object", "schema": {"required": ["a"]}}, {"required": ["a"]}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "null"}}},
         {"type": "null"}),
    ],
)  # fmt: skip
def test_response_formats(
    client: OpenAI, scripted: Script, wanted: dict | None, schema: dict | None
) -> None:
    scripted.pieces = ["{}"]
    assert ask(client, response_format=wanted)["message"]["content"] == "{}"
    assert scripted.options["sampler"].json_schema == schema


def test_options_of_thinking_reach_the_template(client: OpenAI, engine: InferenceEngine) -> None:
    seen = {}
    template = engine.model.chat_template
    engine.model.chat_template = "{{ enable_thinking }} {{ reasoning_effort }} {{ budget }}"
    try:
        for effort in ("none", "low"):
            options = {"reasoning_effort": effort, "chat_template_kwargs": {"budget": 5}}
            answer = client.chat.completions.create(messages=HI, max_tokens=1, **options)
            seen[effort] = answer["usage"]["prompt_tokens"]
    finally:
        engine.model.chat_template = template
    assert seen["none"] == len(engine.tokenize("False none 5"))
    assert seen["low"] == len(engine.tokenize("True low 5"))


BAD_MESSAGES = [
    [],
    ["hi"],
    [{"role": "robot", "content": "x"}],
    [{"role": "user", "content": 5}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    [{"role": "user", "content": "x", "mood": "good"}],
    [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
    [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[" * 99999}}]}],
    [{"role": "assistant", "tool_calls": {"function": {}}}],
]
NAMED = {"type": "function", "function": {"name": "unknown"}}


@pytest.mark.parametrize(
    "request_",
    [
        *({"messages": messages} for messages in BAD_MESSAGES),
        {"messages": HI, "tools": [{"type": "custom", "custom": {"name": "x"}}]},
        {"messages": HI, "tools": [{**TOOL, "function": {"name": "f", "parameters": 5}}]},
        {"messages": HI, "tool_choice": "required"},
        {"messages": HI, "tools": [TOOL], "tool_choice": NAMED},
        {"messages": HI, "tools": [TOOL], "tool_choice": "sometimes"},
        {"messages": HI, "response_format": {"type": "grammar"}},
        {"messages": HI, "response_format": {"type": "json_schema", "schema": {}}},
        {"messages": HI, "response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        {"messages": HI, "response_format": {"type": "json_object", "schema": {"$ref": "#/x"}}},
        {"messages": HI, "top_logprobs": 2},
        {"messages": HI, "audio": {"voice": "x"}},
        {"messages": HI, "modalities": ["audio"]},
        {"messages": HI, "functions": []},
        {"messages": HI, "store": True},
        {"messages": HI, "reasoning_effort": "extreme"},
        {"messages": HI, "temperature": -1},
        {"messages": HI, "max_tokens": 1e9},
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused(client: OpenAI, request_: dict) -> None:
    with pytest.raises(APIError) as caught:
        client.chat.completions.create(**request_)
    assert caught.value.status == 400, caught.value
    assert json.dumps(caught.value.body())
