"""OpenAI's client API over a model of the page: its shapes, field by field, in Chromium."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from browser_helpers import call
from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

MESSAGES = [{"role": "user", "content": "the quick brown fox"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Köln", "Rome"]}, "days": {"type": "boolean"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "stop", "parameters": {"type": "object"}}},
]


def ask(page: Page, params: dict[str, Any], what: str = "chat.completions") -> Any:
    """The answer, or the list of chunks; an error as {"error", "status", "name"}."""
    return call(
        page,
        f"""
        const llm = await OxiLlama.load({{ model: tinyUrl }});
        try {{
            const answer = await llm.openai.{what}.create(params);
            if (!params.stream) return answer;
            const chunks = [];
            for await (const chunk of answer) chunks.push(chunk);
            return chunks;
        }} catch (error) {{
            const {{ name, status, message, code, param, type }} = error;
            return {{ name, status, message, code, param, type }};
        }} finally {{
            llm.dispose();
        }}
        """,
        params=params if what == "embeddings" else {"temperature": 0, **params},
    )


def test_a_whole_answer(page: Page) -> None:
    answer = ask(
        page, {"messages": MESSAGES, "max_tokens": 6, "model": "any", "logprobs": True,
               "top_logprobs": 2},
    )  # fmt: skip
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert abs(answer["created"] - 1.79e9) < 1e9
    assert answer["model"] == "any"
    [choice] = answer["choices"]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    assert isinstance(choice["message"]["content"], str)
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] in ("stop", "length")
    told = choice["logprobs"]["content"]
    assert len(told) == answer["usage"]["completion_tokens"] <= 6
    for token in told:
        assert set(token) == {"token", "bytes", "logprob", "top_logprobs"}
        assert token["logprob"] <= 0
        assert [set(other) for other in token["top_logprobs"]] == [
            {"token", "bytes", "logprob"}
        ] * 2
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 5
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


def test_chunks_add_up_to_the_whole_answer(page: Page) -> None:
    params = {"messages": MESSAGES, "max_completion_tokens": 8, "seed": 1}
    whole = ask(page, params)
    chunks = ask(page, {**params, "stream": True, "stream_options": {"include_usage": True}})
    *content, last = chunks
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in content]
    assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    text = "".join(delta.get("content", "") for delta in deltas)
    assert text == whole["choices"][0]["message"]["content"]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in content]
    assert reasons == [None] * (len(reasons) - 1) + [whole["choices"][0]["finish_reason"]]
    assert last["choices"] == [] and last["usage"] == whole["usage"]


def test_what_was_read_before_counts_as_cached(page: Page) -> None:
    result = call(
        page,
        """
        const llm = await OxiLlama.load({ model: tinyUrl });
        const ask = (messages) =>
            llm.openai.chat.completions.create({ messages, max_tokens: 4, temperature: 0 });
        const first = await ask(messages);
        const longer = [...messages, first.choices[0].message, { role: "user", content: "dog" }];
        const second = await ask(longer);
        const counted = await llm.countTokens(
            longer.map(({ role, content }) => ({ role, content })));
        llm.dispose();
        return { first: first.usage, second: second.usage, counted };
        """,
        messages=MESSAGES,
    )
    first, second = result["first"], result["second"]
    assert second["prompt_tokens"] == result["counted"]
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert first["prompt_tokens"] <= cached < second["prompt_tokens"]


@pytest.mark.parametrize(
    "response_format",
    [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": SCHEMA}}],
)
def test_answers_in_json(page: Page, response_format: dict) -> None:
    answer = ask(
        page,
        {"messages": MESSAGES, "response_format": response_format, "max_tokens": 400, "seed": 3,
         "temperature": 1, "logit_bias": {}},
    )  # fmt: skip
    [choice] = answer["choices"]
    if choice["finish_reason"] == "stop":
        value = json.loads(choice["message"]["content"])
        assert isinstance(value, dict)
        if "json_schema" in response_format:
            assert value["city"] in ("Köln", "Rome") and isinstance(value["days"], bool)
    else:
        assert choice["finish_reason"] == "length"
        assert "json_schema" not in response_format


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_must_be_called(page: Page, stream: bool) -> None:
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    answer = ask(
        page,
        {"messages": MESSAGES, "tools": TOOLS, "tool_choice": choice, "max_tokens": 300,
         "stream": stream},
    )  # fmt: skip
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in answer]
        first, *more = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
        for call_ in more:
            first["function"]["arguments"] += call_["function"]["arguments"]
        calls = [first]
        assert first.pop("index") == 0
        assert answer[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert not any(delta.get("content") for delta in deltas)
    else:
        [one] = answer["choices"]
        assert one["finish_reason"] == "tool_calls"
        assert one["message"]["content"] is None
        calls = one["message"]["tool_calls"]
    [tool_call] = calls
    assert tool_call["id"].startswith("call_") and tool_call["type"] == "function"
    assert tool_call["function"]["name"] == "get_weather"
    arguments = json.loads(tool_call["function"]["arguments"])
    assert arguments["city"] in ("Köln", "Rome") and isinstance(arguments["days"], bool)


def test_tool_results_and_parts_of_messages_are_understood(page: Page) -> None:
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "fox"}]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function",
             "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21"},
    ]  # fmt: skip
    answer = ask(page, {"messages": messages, "tools": TOOLS, "max_tokens": 2})
    assert answer["choices"][0]["message"]["role"] == "assistant"
    messages[1]["tool_calls"][0]["function"]["arguments"] = "{"
    refused = ask(page, {"messages": messages, "max_tokens": 2})
    assert refused["status"] == 400 and "messages[1].tool_calls[0]" in refused["message"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"messages": MESSAGES, "n": 0}, "n"),
        ({"messages": MESSAGES, "logit_bias": {"the": 5}}, "logit_bias"),
        ({"messages": []}, "messages"),
        ({"messages": MESSAGES, "temperature": -1}, "temperature"),
        ({"messages": MESSAGES, "tool_choice": "required"}, "tool_choice"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": "fox " * 5000}]}, None),
    ],
)
def test_errors_have_openais_shape(page: Page, params: dict, param: str | None) -> None:
    error = ask(page, params)
    assert error["name"] == "APIError"
    assert error["status"] == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"].startswith("400 ")
    if "fox fox" in str(params):
        assert error["code"] == "context_length_exceeded"


def test_completions(page: Page) -> None:
    params = {"prompt": "the fox", "max_tokens": 5}
    whole = ask(page, params, "completions")
    assert whole["object"] == "text_completion" and whole["id"].startswith("cmpl-")
    [choice] = whole["choices"]
    assert set(choice) == {"index", "text", "logprobs", "finish_reason"}
    assert whole["usage"]["completion_tokens"] <= 5
    chunks = ask(page, {**params, "stream": True}, "completions")
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == choice["text"]
    assert chunks[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert ask(page, {"prompt": 5}, "completions")["param"] == "prompt"


def test_requests_at_the_same_time_do_not_mix(page: Page) -> None:
    result = call(
        page,
        """
        const llm = await OxiLlama.load({ model: tinyUrl });
        const one = async (prompt) => (await llm.openai.completions.create(
            { prompt, max_tokens: 20, temperature: 0 })).choices;
        const alone = [];
        for (const prompt of prompts) alone.push(await one(prompt));
        const together = await Promise.all(prompts.map(one));
        // a chat of the page's own goes on beside them
        const pieces = [];
        const [beside] = await Promise.all([one(prompts[0]), (async () => {
            for await (const piece of llm.chat(messages, { maxTokens: 5 })) pieces.push(piece);
        })()]);
        llm.dispose();
        return { alone, together, beside, pieces: pieces.length };
        """,
        prompts=["the quick brown fox", "dog sleeps", "A "],
        messages=MESSAGES,
    )
    assert result["together"] == result["alone"]
    assert result["beside"] == result["alone"][0]
    assert result["pieces"] > 0


def test_embeddings(page: Page) -> None:
    answer = ask(page, {"input": ["the fox", "a dog"]}, "embeddings")
    assert answer["object"] == "list"
    assert [one["index"] for one in answer["data"]] == [0, 1]
    assert {one["object"] for one in answer["data"]} == {"embedding"}
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 1
    packed = ask(page, {"input": "the fox", "encoding_format": "base64"}, "embeddings")
    data = base64.b64decode(packed["data"][0]["embedding"])
    vector = struct.unpack(f"<{len(data) // 4}f", data)
    assert vector == pytest.approx(answer["data"][0]["embedding"], abs=1e-6)
    assert ask(page, {"input": 1}, "embeddings")["param"] == "input"


def test_an_answer_can_be_stopped(page: Page) -> None:
    result = call(
        page,
        """
        const llm = await OxiLlama.load({ model: "models/larger-llama.gguf" });
        const stop = new AbortController();
        const stream = await llm.openai.chat.completions.create(
            { messages, stream: true, max_tokens: 3000, temperature: 0 }, { signal: stop.signal });
        let count = 0, reason = null;
        for await (const chunk of stream) {
            if (++count === 3) stop.abort();
            reason = chunk.choices[0].finish_reason;
        }
        const { models } = llm.openai;
        const list = await models.list();
        llm.dispose();
        return { count, reason, list };
        """,
        messages=MESSAGES,
    )
    assert result["reason"] == "stop" and result["count"] < 1000
    assert result["list"]["data"][0]["object"] == "model"
