"""Plain completions: what OpenAI's own types and the engine's own answers say of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from openai.types import Completion

from oxillama_web import InferenceEngine
from oxillama_web.openai import APIError, OpenAI

PROMPTS = ["the quick brown dog sleeps and sleeps", "dog sleeps", "A "]


def test_an_answer_is_the_engine_s_and_the_sum_of_its_chunks(
    client: OpenAI, engine: InferenceEngine
) -> None:
    engine.reset()
    expected = engine.generate(PROMPTS[0], 12)
    whole = client.completions.create(prompt=PROMPTS[0], max_tokens=12)
    Completion.model_validate(whole, strict=True)
    assert whole["choices"][0]["text"] == expected
    assert whole["choices"][0]["finish_reason"] == "length"
    options = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": 2}
    chunks = list(client.completions.create(prompt=PROMPTS[0], max_tokens=12, **options))
    # the API sends null until the end, which its own types do not say
    assert {chunk["choices"][0].get("finish_reason") for chunk in chunks[:-2]} == {None}
    Completion.model_validate(chunks[-2], strict=True)
    Completion.model_validate(chunks[-1], strict=True)
    assert "".join(c["choices"][0]["text"] for c in chunks[:-1]) == expected
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 12
    n_prompt = chunks[-1]["usage"]["prompt_tokens"]
    cached = chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached == n_prompt - 1  # the last one gives the first logits
    assert [c["usage"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert sum(len(c["choices"][0]["logprobs"]["tokens"]) for c in chunks[:-1]) == 12


def test_requests_that_take_turns_do_not_mix(client: OpenAI) -> None:
    alone = [client.completions.create(prompt=p, max_tokens=8)["choices"] for p in PROMPTS]
    turns = [client.steps("completions", {"prompt": p, "max_tokens": 8}) for p in PROMPTS]
    wholes = {}
    for index, steps in itertools.cycle(list(enumerate(turns))):
        try:
            next(steps)
        except StopIteration as end:
            wholes.setdefault(index, end.value)
        if len(wholes) == len(PROMPTS):
            break
    assert [wholes[i]["choices"] for i in range(len(PROMPTS))] == alone
    # a list of prompts and token ids gives the same
    together = client.completions.create(prompt=PROMPTS, max_tokens=8)
    assert [choice["text"] for choice in together["choices"]] == [c[0]["text"] for c in alone]
    assert [choice["index"] for choice in together["choices"]] == [0, 1, 2]


def test_n_answers_have_seeds_of_their_own(client: OpenAI) -> None:
    request = {"prompt": "the", "max_tokens": 10, "n": 3, "temperature": 2, "seed": 7, "top_k": 0}
    answers = [client.completions.create(**request)["choices"] for _ in range(2)]
    assert answers[0] == answers[1]
    assert len({choice["text"] for choice in answers[0]}) > 1
    usage = client.completions.create(**request)["usage"]
    assert usage["completion_tokens"] == 30


def test_echo_with_logprobs_scores_the_prompt(client: OpenAI, engine: InferenceEngine) -> None:
    text = "the quick brown dog sleeps and the quick brown dog sleeps again and again"
    tokens = engine.tokenize(text)
    assert len(tokens) > 33  # more than one pass
    whole = client.completions.create(prompt=text, max_tokens=0, echo=True, logprobs=1)
    choice = whole["choices"][0]
    assert choice["text"] == text and choice["finish_reason"] == "length"
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == text and found["token_logprobs"][0] is None
    for offset, token in zip(found["text_offset"], found["tokens"], strict=True):
        assert text[offset:].startswith(token)
    conversation = engine.conversation()
    for position in range(len(tokens) - 1):
        logits = conversation.forward_one(tokens[position]).astype(np.float64)
        expected = logits[tokens[position + 1]] - np.logaddexp.reduce(logits)
        assert found["token_logprobs"][position + 1] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": "x", "max_tokens": "5"}, "max_tokens"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens"),
        ({"prompt": "x", "temperature": float("nan")}, "temperature"),
        ({"prompt": "x", "logit_bias": {"the": 5}}, "logit_bias"),
        ({"prompt": "x", "best_of": 2}, "best_of"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "top_pp": 0.5}, "top_pp"),
        ({"prompt": [1, 99999]}, None),
        ({"prompt": "x " * 3000}, None),
    ],
)
def test_a_wrong_request_is_refused_by_name(client: OpenAI, request_: dict, param: str) -> None:
    with pytest.raises(APIError) as caught:
        client.completions.create(**request_)
    assert caught.value.status == 400
    body = caught.value.body()["error"]
    assert body["param"] == param and body["type"] == "invalid_request_error"


def test_null_counts_as_absent(client: OpenAI) -> None:
    absent = client.completions.create(prompt="the")
    names = ("max_tokens", "suffix", "stop", "seed", "n", "logprobs", "stream_options", "top_p")
    null = client.completions.create(prompt="the", **dict.fromkeys(names))
    assert null["choices"] == absent["choices"]


def test_models(client: OpenAI) -> None:
    (model,) = client.models.list()["data"]
    assert client.models.retrieve(model["id"]) == model
    with pytest.raises(APIError, match="does not exist"):
        client.models.retrieve("gpt-5")
