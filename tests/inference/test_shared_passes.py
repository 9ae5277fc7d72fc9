"""Answers that share forward passes: as if each were alone, and fewer passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gguf_files import write_tiny_llama
from test_recurrent_cache import computed
from test_recurrent_cache import path as recurrent_path  # noqa: F401

from oxillama_web import EngineConfig, InferenceEngine, OutOfMemoryError, PromptLookup, SamplerConfig
from oxillama_web.inference.generation import GenerationEvent

PROMPTS = ["one", "another one, longer", "a third", "and a fourth one"]
SAMPLERS = [
    SamplerConfig.greedy(),
    SamplerConfig(temperature=1.2, seed=7),
    SamplerConfig(grammar="root ::= [a-z ]+"),
    SamplerConfig(mirostat=2, seed=3),
]


@pytest.fixture(params=["llama", "recurrent"])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, recurrent_path: Path  # noqa: F811
) -> InferenceEngine:
    path = recurrent_path
    if request.param == "llama":
        path = tmp_path / "llama.gguf"
        write_tiny_llama(path, format="F32", context_length=128)
    engine = InferenceEngine(EngineConfig(str(path), num_threads=2, prefill_chunk_size=8))
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


def answers(engine: InferenceEngine, n_tokens: int = 20) -> list[Iterator[GenerationEvent]]:
    """Begin one answer to each prompt, each in a conversation and with a sampler of its own."""
    return [
        engine.conversation().events(prompt, n_tokens, sampler=sampler, logprobs=2)
        for prompt, sampler in zip(PROMPTS, SAMPLERS, strict=True)
    ]


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
    passes: list[int] = []
    forward = engine.model.executor.forward_batch

    def counted(batch, outputs):  # type: ignore[no-untyped-def]
        passes.append(len(batch))
        return forward(batch, outputs)

    engine.model.executor.forward_batch = counted
    together = in_turn(answers(engine))
    assert together == alone  # to the last bit
    assert len(passes) < 40  # 80 tokens and four prompts
    assert passes.count(4) > 10
    # who speculates has passes of its own, in which the others' tokens have no place
    lookup = engine.conversation().events(
        PROMPTS[0], 20, sampler=SAMPLERS[0], logprobs=2, speculation=PromptLookup(3, 2, 1)
    )
    assert in_turn([lookup, *answers(engine)]) == [alone[0], *alone]


def test_a_prompt_in_small_chunks_takes_the_others_along(engine: InferenceEngine) -> None:
    first, second, third, fourth = answers(engine, 40)
    alone = in_turn(answers(engine, 40))
    for each in (first, second, third):
        while next(each).phase == "prefill":
            pass
    engine_chunks = computed(engine)
    long = engine.conversation().events("word " * 12, 4, sampler=SAMPLERS[0])
    next(long)
    assert len(engine_chunks) == 4 and engine_chunks[1:] == [1, 1, 1]
    in_turn([first, second, third, long])
    assert in_turn([fourth]) == alone[3:]


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

    events = answers(engine)
    for each in events:
        while next(each).phase == "prefill":
            pass
    engine.model.executor.forward_batch = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(events[0])
    engine.model.executor.forward_batch = forward
    assert [found[1:] for found in alone[1:]] == in_turn(events[1:])


def test_an_answer_that_nobody_takes_is_computed_one_token_ahead(engine: InferenceEngine) -> None:
    left, taken, *_ = answers(engine)
    for each in (left, taken):
        while next(each).phase == "prefill":
            pass
    passes = computed(engine)
    for _ in range(4):
        next(taken)
    assert passes == [1, 1, 1, 1, 1]
    conversation = engine.conversation()
    conversation.prefill([5])
    closed = conversation.events("two", 9)
    while next(closed).phase == "prefill":
        pass
    closed.close()
    passes.clear()
    next(taken)
    assert passes == [1]
