"""Answers longer than the context, in a pool's memory: test_context_shift_browser.py runs it."""

from __future__ import annotations

import json
from typing import Any

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.browser.streaming_load import ArrivingModel

N_TOKENS = 60


def run(pool: Any, model: bytearray) -> str:
    """As JSON, for each format of the cache: the tokens in a pool's memory, and in Python's."""
    answers = {}
    for kv_cache_type in ("f32", "f16", "q8_0"):
        config = EngineConfig(
            num_threads=1,
            context_size=16,
            context_full="shift",
            context_keep=3,
            kv_cache_type=kv_cache_type,
        )
        address = pool.allocate(len(model))
        pool.view(address, len(model)).assign(model)
        arriving = ArrivingModel(pool, config, None)
        arriving.receive(address, len(model), len(model))
        local = InferenceEngine(config)
        local.load_model_from_bytes(model)
        answers[kv_cache_type] = [answer(arriving.engine), answer(local)]
    return json.dumps(answers)


def answer(engine: InferenceEngine) -> list[int | None]:
    """The tokens of an answer that is longer than the context."""
    engine.tokenizer.eog_ids = frozenset()
    prompt = [5, 6, 7, 8, 9, 10, 11]
    events = list(engine.events(prompt, N_TOKENS, sampler=SamplerConfig.greedy()))
    assert engine.kv_cache_seq_len <= 16
    return [event.token for event in events if event.phase == "decode"]
