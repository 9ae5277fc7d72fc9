"""Responses: events in OpenAI's order, items of a turn as messages, and what is refused."""

from __future__ import annotations

import openai.types.responses as types
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from scripted_answers import Script

from oxillama_web import InferenceEngine
from oxillama_web.errors import OutOfMemoryError
from oxillama_web.openai import APIError, OpenAI
from oxillama_web.openai.conversations import Conversations

EVENT = TypeAdapter(ResponseStreamEvent)
TOOL = {
    "type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {}}},
    "strict": False,
}  # fmt: skip
THINKING = "{% for m in messages %}{{ m.role }}:<think>{{ m.reasoning_content }}</think>"
THINKING += "{{ m.content }};{% endfor %}"


def ask(client: OpenAI, **request: object) -> dict:
    """Answer a request as a whole and as a stream, whose events must add up to the same."""
    request = {"input": "hi", **request}
    whole = client.responses.create(**request)
    Response.model_validate(whole, strict=True)
    events = list(client.responses.create(**request, stream=True))
    for number, event in enumerate(events):
        known = EVENT.validate_python(event)
        assert type(known).__name__ in dir(types), event
        assert event["sequence_number"] == number
    assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"]
    last = events[-1]["response"]
    assert events[-1]["type"] == f"response.{last['status']}"
    for index, (item, streamed) in enumerate(zip(whole["output"], last["output"], strict=True)):
        ours = [e for e in events[2:-1] if e["output_index"] == index]
        assert ours[0]["type"] == "response.output_item.added"
        assert ours[-1]["type"] == "response.output_item.done" and ours[-1]["item"] == streamed
        text = "".join(e["delta"] for e in ours if e["type"].endswith(".delta"))
        texts = [part["text"] for part in item.get("content", ())] or [item["arguments"]]
        assert text == "".join(texts)
        ids = {key: None for key in ("id", "call_id")}
        assert {**item, **ids} == {**streamed, **ids}
    return whole


def test_a_real_answer(client: OpenAI) -> None:
    chat = client.chat.completions.create(
        messages=[{"role": "system", "content": "brief"}, {"role": "user", "content": "hi"}],
        max_tokens=10,
    )
    include = ["message.output_text.logprobs"]
    whole = ask(client, instructions="brief", max_output_tokens=10, include=include)
    response = Response.model_validate(whole)
    assert response.output_text == chat["choices"][0]["message"]["content"]
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage.input_tokens == chat["usage"]["prompt_tokens"]
    assert response.usage.output_tokens == 10
    assert len(response.output[0].content[0].logprobs) == 10


def test_a_thought_a_text_and_calls(client: OpenAI, scripted: Script, monkeypatch) -> None:
    model = client._conversations.engine.model
    monkeypatch.setattr(model, "chat_template", THINKING + "{{ '<tool_call>' if tools }}")
    call = '<tool_call>\n{"name": "f", "arguments": {"a": 1.0}}\n</tool_call>'
    scripted.pieces = list(f"<think>Hm</think>Yes.{call}{call}")
    whole = ask(client, tools=[TOOL], reasoning={"effort": "low", "summary": "auto"})
    assert [item["type"] for item in whole["output"]] == [
        "reasoning", "message", "function_call", "function_call",
    ]  # fmt: skip
    assert {item["status"] for item in whole["output"]} == {"completed"} == {whole["status"]}
    thought, message, first, second = whole["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Hm"}]
    assert message["content"][0]["text"] == "Yes."
    assert first["arguments"] == '{"a": 1.0}' and first["call_id"] != second["call_id"]
    # the output is the input of the next request
    outputs = [{"type": "function_call_output", "call_id": first["call_id"], "output": "7"}]
    scripted.pieces = ["ok"]
    ask(client, input=[{"role": "user", "content": "hi"}, *whole["output"], *outputs])
    assert scripted.prompt == "user:<think></think>hi;assistant:<think>Hm</think>Yes.;" + (
        "tool:<think></think>7;"
    )


def test_what_is_cut_off_is_incomplete(client: OpenAI, scripted: Script) -> None:
    scripted.pieces, scripted.finish_reason = ['{"name": "f", "arguments": {"a": '], "length"
    whole = ask(client, tools=[TOOL], tool_choice="required")
    (call,) = whole["output"]
    assert call["status"] == whole["status"] == "incomplete" and call["arguments"] == '{"a": '


def test_an_empty_answer_has_a_message(client: OpenAI, scripted: Script) -> None:
    scripted.pieces = []
    assert ask(client)["output"][0]["content"][0]["text"] == ""


def test_a_schema_and_choices_reach_the_chat(client: OpenAI, scripted: Script) -> None:
    schema = {"type": "object"}
    format_ = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    ask(client, text={"format": format_, "verbosity": "medium"})
    assert scripted.options["sampler"].json_schema == schema
    scripted.pieces = ['{"name": "f", "arguments": {}}']
    named = {"type": "function", "name": "f"}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [named]}
    for choice in (named, allowed):
        whole = ask(client, tools=[TOOL, {"type": "function", "name": "g"}], tool_choice=choice)
        assert whole["output"][0]["name"] == "f" and whole["tool_choice"] == choice


def test_a_stream_that_fails_ends_with_an_event(
    client: OpenAI, engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OutOfMemoryError("too little")
        yield

    monkeypatch.setattr(Conversations, "answer", fail)
    *_, last = client.responses.create(input="hi", stream=True)
    assert EVENT.validate_python(last).response.error.message == "too little"
    assert last["type"] == "response.failed"
    with pytest.raises(APIError, match="too little"):
        client.responses.create(input="hi")


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0]"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "x", "store": True}, "store"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "conversation": "c"}, "conversation"),
        ({"input": "x", "truncation": "auto"}, "truncation"),
        ({"input": "x", "max_tokens": 5}, "max_tokens"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": "x", "tools": [TOOL], "tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"input": "x", "tools": [TOOL], "tool_choice": 5}, "tool_choice"),
        ({"input": "x", "include": ["file_search_call.results"]}, "include"),
        ({"input": "x", "reasoning": {"summary": "detailed"}}, "summary"),
        ({"input": "x", "reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"input": "x", "text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"input": "x", "text": {"verbosity": "high"}}, "text.verbosity"),
        ({"input": "x", "temperature": -1}, "temperature"),
        ({"input": "x", "stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: OpenAI, request_: dict, param: str
) -> None:
    with pytest.raises(APIError) as caught:
        client.responses.create(**request_)
    assert (caught.value.status, caught.value.param) == (400, param), caught.value
