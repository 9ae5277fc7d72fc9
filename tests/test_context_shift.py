"""A context that is full forgets its oldest tokens, where that is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf_files import write_tiny_llama

from oxillama_web import (
    ContextLengthError,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    PromptLookup,
    SamplerConfig,
)

GREEDY = SamplerConfig.greedy()
PROMPT = [5, 6, 7, 8, 9, 10, 11]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_tiny_llama(path)
    return path


@pytest.fixture(params=["numpy", "kernels"])
def executor(request: pytest.FixtureRequest) -> str:
    return request.param


def load(path: Path, executor: str, **config: object) -> InferenceEngine:
    engine = InferenceEngine(
        EngineConfig(model_path=str(path), num_threads=1, executor=executor, **config)
    )
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


def expected_tokens(engine: InferenceEngine, n: int, keep: int, context: int) -> list[int]:
    """Greedy tokens, each from logits that are computed anew over what the context then holds."""
    held, answer = list(PROMPT), []
    for _ in range(n):
        engine.reset()
        answer.append(int(np.argmax(engine.forward_prefill(held, 0))))
        if len(held) == context:
            held = held[:keep] + held[len(held) - (context - keep) // 2 :]
        held.append(answer[-1])
    return answer


@pytest.mark.parametrize("keep", [0, 3, 14])
def test_an_answer_goes_on_beyond_the_context(tiny: Path, executor: str, keep: int) -> None:
    engine = load(tiny, executor, context_size=16, context_full="shift", context_keep=keep)
    expected = expected_tokens(load(tiny, executor), 50, keep, 16)
    for speculation in (None, PromptLookup(3, 2, 1)):
        engine.reset()
        events = list(engine.events(PROMPT, 50, sampler=GREEDY, speculation=speculation))
        assert [event.token for event in events if event.token is not None] == expected
        assert events[-1].finish_reason == "length"
        assert engine.kv_cache_seq_len <= 16
        assert engine._conversation.tokens[:keep] == (PROMPT + expected)[:keep]


def test_a_prompt_longer_than_the_context_keeps_its_ends(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor, context_size=16, context_full="shift", context_keep=4)
    prompt = list(range(5, 60))
    events = list(engine.events(prompt, 1, sampler=GREEDY))
    held = prompt[:4] + prompt[-6:]
    assert engine._conversation.tokens == held
    logits = load(tiny, executor).forward_prefill(held, 0)
    assert [e.token for e in events if e.token is not None] == [int(np.argmax(logits))]
    # forward passes with positions of the caller's never shift
    with pytest.raises(ContextLengthError):
        engine.prefill([1] * 7)


def test_what_cannot_be_kept_is_refused(tiny: Path) -> None:
    with pytest.raises(InvalidRequestError, match="context_keep is 15"):
        load(tiny, "numpy", context_size=16, context_full="shift", context_keep=15)
    for wrong in ({"context_full": "roll"}, {"context_keep": -1}):
        with pytest.raises(InvalidRequestError, match="context_"):
            EngineConfig(**wrong)
