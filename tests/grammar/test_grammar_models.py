"""Whole answers of models within a grammar: a tiny random one, and SmolLM2."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from get_test_tokenizers import get_test_tokenizers
from gguf_files import write_tiny_llama
from jsonschema import Draft202012Validator

from oxillama_web import EngineConfig, GrammarError, InferenceEngine, PromptLookup, SamplerConfig
from oxillama_web.grammar import constraint
from oxillama_web.sampling import Sampler
from oxillama_web.tokenizer import load_tokenizer_json

SCHEMAS: dict[str, dict[str, Any]] = {
    "Describe the city of Lisbon.": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "inhabitants": {"type": "integer", "minimum": 0, "maximum": 10**8},
            "by_the_sea": {"type": "boolean"},
        },
        "required": ["city", "by_the_sea"],
        "additionalProperties": False,
    },
    "Name three colours.": {
        "type": "array",
        "items": {"enum": ["red", "green", "blue", "yellow"]},
        "minItems": 3,
        "maxItems": 3,
    },
    "When was the first moon landing?": {"type": "string", "format": "date"},
    "What is the chance of rain?": {"type": "number", "minimum": 0, "maximum": 1},
    "Is the earth round?": {
        "anyOf": [
            {
                "type": "object",
                "properties": {"error": {"type": "string", "maxLength": 20}},
                "required": ["error"],
            },
            {"type": "boolean"},
        ]
    },
}
SAMPLERS = [
    {"temperature": 0.0, "repetition_penalty": 1.0},
    {"temperature": 1.5, "seed": 1},
    {"top_k": 0, "temperature": 1.0, "seed": 2},
]


@pytest.fixture(scope="module", params=["kernels", "numpy"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[InferenceEngine]:
    path = tmp_path_factory.mktemp("grammar") / "tiny.gguf"
    write_tiny_llama(path, vocab=320, context_length=512)
    engine = InferenceEngine(EngineConfig(model_path=str(path), executor=request.param))
    engine.load_model()
    return engine


@pytest.mark.parametrize("prompt", SCHEMAS)
@pytest.mark.parametrize("fields", SAMPLERS, ids=["greedy", "hot", "all"])
def test_a_random_model_writes_what_validates(
    tiny: InferenceEngine, prompt: str, fields: dict[str, Any]
) -> None:
    tiny.reset()
    sampler = SamplerConfig(**fields, json_schema=SCHEMAS[prompt])
    events = list(tiny.events(prompt, 400, sampler=sampler))
    assert events[-1].finish_reason == "stop"
    value = json.loads("".join(event.text for event in events))
    assert list(Draft202012Validator(SCHEMAS[prompt]).iter_errors(value)) == []


def test_speculation_gives_the_same_answer(tiny: InferenceEngine) -> None:
    sampler = SamplerConfig(grammar='root ::= ("the fox " | "the dog "){20}', seed=4)
    answers = []
    for speculation in (None, PromptLookup()):
        tiny.reset()
        answers.append(
            tiny.generate("the fox the dog", 300, sampler=sampler, speculation=speculation)
        )
    assert answers[0] == answers[1]
    assert answers[0].count("the ") == 20


def test_a_wrong_grammar_is_refused_before_the_answer_begins(tiny: InferenceEngine) -> None:
    tiny.reset()
    with pytest.raises(GrammarError, match="root"):
        tiny.events("the", 5, sampler=SamplerConfig(grammar="x ::= y"))
    assert tiny.generate("the", 3) is not None


def test_a_vocabulary_with_thinking_tokens(tiny: InferenceEngine) -> None:
    spec = (get_test_tokenizers() / "qwen3.json").read_text("utf-8")
    tokenizer = load_tokenizer_json(spec)
    grammar = 'root ::= <think> !</think>{5,20} </think> "yes" !<[0]>{2}'
    assert tiny.model is not None
    found = constraint(grammar, None, tokenizer, tiny.model.logits_ops, {})
    assert found is not None
    sampler = Sampler(
        SamplerConfig(temperature=2.0, seed=7), tiny.model.logits_ops, constraint=found
    )
    rng = np.random.default_rng(7)
    ids: list[int] = []
    while not ids or ids[-1] not in tokenizer.eog_ids:
        logits = array("f", rng.normal(0, 1, tokenizer.n_vocab).tolist())
        ids.append(sampler.sample(memoryview(logits), ids))
    first, last = tokenizer.encode("<think></think>")
    end = ids.index(last)
    assert ids[0] == first
    assert 6 <= end <= 21
    assert tokenizer.decode(ids[end + 1 : -3]) == "yes"
    assert 0 not in ids[-3:]


@pytest.mark.slow
def test_smollm2_writes_the_tokens_that_a_grammar_refers_to(smollm2_path: Path) -> None:
    engine = InferenceEngine(EngineConfig(model_path=str(smollm2_path)))
    engine.load_model()
    sampler = SamplerConfig(grammar="root ::= <|im_start|> !<|im_start|>{4} <[1]>", temperature=0.0)
    events = engine.events("Hello", 20, sampler=sampler)
    ids = [event.token for event in events if event.token is not None]
    assert ids[0] == ids[5] == 1
    assert 1 not in ids[1:5]
    with pytest.raises(GrammarError, match="<think> of the grammar is not one token"):
        engine.events("Hello", 20, sampler=SamplerConfig(grammar="root ::= <think>"))


@pytest.mark.slow
def test_smollm2_answers_validate(smollm2_path: Path) -> None:
    engine = InferenceEngine(EngineConfig(model_path=str(smollm2_path)))
    engine.load_model()
    for prompt, schema in SCHEMAS.items():
        for fields in SAMPLERS:
            sampler = SamplerConfig(**fields, json_schema=schema)
            messages = [{"role": "user", "content": prompt}]
            events = list(engine.chat_events(messages, 120, sampler=sampler))
            assert events[-1].finish_reason == "stop"
            value = json.loads("".join(event.text for event in events))
            assert list(Draft202012Validator(schema).iter_errors(value)) == []
