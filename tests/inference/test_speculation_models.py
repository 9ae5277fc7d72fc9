"""Guesses of a real draft model, checked by a real model."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxillama_web import DraftModel, EngineConfig, InferenceEngine, SamplerConfig

pytestmark = pytest.mark.slow

N_TOKENS = 64
PROMPT = "<|im_start|>user\nTell me why lighthouses were built.<|im_end|>\n<|im_start|>assistant\n"


def load(path: Path) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(str(path), num_threads=1, context_size=512))
    engine.load_model()
    return engine


def tokens_of(
    engine: InferenceEngine, sampler: SamplerConfig, drafter: DraftModel | None = None
) -> list[int]:
    engine.reset()
    engine.metrics.reset()
    events = engine.events(PROMPT, N_TOKENS, sampler=sampler, speculation=drafter)
    return [event.token for event in events if event.token is not None]


def test_a_model_that_drafts_for_itself_is_always_right(smollm2_path: Path) -> None:
    """And what it is right about is what it answers without guesses, sampled answers too."""
    engine, other = load(smollm2_path), load(smollm2_path)
    greedy, hot = SamplerConfig.greedy(), SamplerConfig(temperature=1.0, top_k=0, seed=4)
    plain, plain_hot = tokens_of(engine, greedy), tokens_of(engine, hot)
    assert len(plain) == len(plain_hot) == N_TOKENS
    for drafter in (DraftModel(engine, 4), DraftModel(other, 3)):
        assert tokens_of(engine, greedy, drafter) == plain
        totals = engine.metrics_snapshot()
        # three of four, or more, are guessed; the first one and those behind each guess are not
        assert totals.accepted_tokens >= 0.7 * N_TOKENS
        assert totals.accepted_tokens == totals.drafted_tokens
        assert tokens_of(engine, hot, drafter) == plain_hot
        totals = engine.metrics_snapshot()
        assert 0 < totals.accepted_tokens < totals.drafted_tokens
