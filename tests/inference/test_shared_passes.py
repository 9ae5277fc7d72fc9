"""Answers that share forward passes: as if each were alone, and fewer passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from architecture_files import write_case
from gguf_files import write_tiny_llama

from oxillama_web import (
    EngineConfig,
    InferenceEngine,
    OutOfMemoryError,
    PromptLookup,
    SamplerConfig,
)
from oxillama_web.inference.generation import GenerationEvent

PROMPTS = ["one", "another one, longer", "a third", "and a fourth one"]
SAMPLERS = [
    SamplerConfig.greedy(),
    SamplerConfig(temperature=1.2, seed=7),
    SamplerConfig(grammar="root ::= [a-z ]+", seed=5),
    SamplerConfig(mirostat=2, seed=3),
]


@pytest.fixture(params=["llama", "lfm2", "qwen35"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> InferenceEngine:
    path = tmp_path / "model.gguf"
    if request.param == "llama":
        write_tiny_llama(path, format="F32", context_length=128)
    else:
        write_case(path, request.param, "Q8_0")
    engine = InferenceEngine(EngineConfig(str(path), num_threads=2, prefill_chunk_size=64))
    engine.load_model()
    return engine


def answers(engine: InferenceEngine, n_tokens: int = 20) -> list[Iterator[GenerationEvent]]:
    """Begin one answer to each prompt, each in a conversation and with a sampler of its own."""
    return [
        engine.conversation().events(prompt, n_tokens, sampler=sampler, logprobs=2)
        for prompt, sampler in zip(PROMPTS, samplers(engine), strict=True)
    ]


def samplers(engine: InferenceEngine) -> list[SamplerConfig]:
    """Those above, which never choose to end."""
    no_end = dict.fromkeys(engine.tokenizer.eog_ids, -100.0)
    return [replace(each, logit_bias=no_end) for each in SAMPLERS]


def begun(events: list[Iterator[GenerationEvent]]) -> list[Iterator[GenerationEvent]]:
    """Take the first steps of each, so that all wait for a pass."""
    for each in events:
        while next(each).phase == "prefill":
            pass
    for each in events[:-1]:  # the last one's prompt took them along
        next(each)
    return events


def computed(engine: InferenceEngine) -> list[list[int]]:
    """For each forward pass from now on, how many tokens it computes of each sequence."""
    passes: list[list[int]] = []
    forward = engine.model.executor.forward_batch

    def counted(batch, outputs):  # type: ignore[no-untyped-def]
        passes.append([len(tokens) for _, tokens in batch])
        return forward(batch, outputs)

    engine.model.executor.forward_batch = counted
    return passes


def in_turn(events: list[Iterator[GenerationEvent]]) -> list[list[object]]:
    """Take a step of each in turn, to the end; return each one's tokens and log-probabilities."""
    found: list[list[object]] = [[] for _ in events]
    running = list(enumerate(events))
    while running:
        for pair in running.copy():
            event = next(pair[1], None)
            if event is None:
                running.remove(pair)
            elif event.token is not None:
                found[pair[0]].append((event.token, event.logprobs))
    return found


def test_answers_in_turn_are_those_of_each_alone_in_fewer_passes(engine: InferenceEngine) -> None:
    alone = [in_turn([each])[0] for each in answers(engine)]
    passes = computed(engine)
    assert in_turn(answers(engine)) == alone  # to the last bit
    assert len(passes) < 40  # 80 tokens and four prompts
    assert passes.count([1, 1, 1, 1]) > 10
    # who speculates has passes of its own, in which the others' tokens have no place
    lookup = engine.conversation().events(
        PROMPTS[0], 20, sampler=samplers(engine)[0], logprobs=2, speculation=PromptLookup(3, 2, 1)
    )
    assert in_turn([lookup, *answers(engine)]) == [alone[0], *alone]


def test_a_prompt_is_read_in_small_chunks_beside_the_others(engine: InferenceEngine) -> None:
    _running = begun(answers(engine, 40)[:3])
    passes = computed(engine)
    prompt = engine.tokenize("word " * 12)
    reader = engine.conversation().events(prompt, 4, sampler=samplers(engine)[0])
    n_done = next(reader).n_done
    assert passes == [[n_done, 1, 1, 1]] and n_done <= 16 + 3


def test_a_pass_that_fails_is_that_of_one(engine: InferenceEngine) -> None:
    alone = [in_turn([each])[0] for each in answers(engine)]
    forward = engine.model.executor.forward_batch

    def failing(batch, outputs):  # type: ignore[no-untyped-def]
        if len(batch) > 1:
            raise OutOfMemoryError("no room for one of them")
        return forward(batch, outputs)

    engine.model.executor.forward_batch = failing
    assert in_turn(answers(engine)) == alone

    def interrupted(batch, outputs):  # type: ignore[no-untyped-def]
        forward(batch, outputs)
        raise KeyboardInterrupt

    events = begun(answers(engine))
    engine.model.executor.forward_batch = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(events[0])
    engine.model.executor.forward_batch = forward
    expected = [alone[1][2:], alone[2][2:], alone[3][1:]]
    assert in_turn(events[1:]) == expected


def test_an_answer_that_nobody_goes_on_with_is_one_token_ahead(engine: InferenceEngine) -> None:
    events = begun(answers(engine))
    left, taken, closed = events[:3]
    closed.close()
    del events
    passes = computed(engine)
    for _ in range(4):
        next(taken)
    assert passes == [[1, 1], [1], [1], [1]]
    assert in_turn([left])[0] == in_turn(answers(engine)[:1])[0][2:]
