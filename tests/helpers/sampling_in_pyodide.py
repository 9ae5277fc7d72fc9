"""How much of a token's time sampling takes: test_sampling_browser.py runs it in Pyodide."""

from __future__ import annotations

import json
import statistics
import time
from typing import ClassVar

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.sampling import Sampler

PROMPT = "A long story about a lighthouse keeper:"
N_TOKENS = 32
N_RUNS = 3
SAMPLERS: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0.0, "repetition_penalty": 1.0},
    "default": {},
    "top_p": {"top_k": 0, "top_p": 0.9, "temperature": 0.8},
    "min_p": {"top_k": 0, "top_p": 1.0, "min_p": 0.05, "temperature": 0.8},
    "all": {"top_k": 0, "top_p": 1.0, "temperature": 0.8},
}


class TimedSampler(Sampler):
    """Notes how long sampling takes, in seconds."""

    times: ClassVar[list[float]] = []

    def sample(self, *arguments: object) -> int:
        start = time.perf_counter()
        token = super().sample(*arguments)
        TimedSampler.times.append(time.perf_counter() - start)
        return token


def run(model: bytearray, _: str = "") -> str:
    """As JSON, for each kind of sampler: milliseconds a token, and of sampling."""
    from oxillama_web.inference import generation

    generation.Sampler = TimedSampler
    engine = InferenceEngine(EngineConfig(num_threads=1))
    engine.load_model_from_bytes(model, None, consume=True)
    engine.tokenizer.eog_ids = frozenset()
    return json.dumps({name: measure(engine, fields) for name, fields in SAMPLERS.items()})


def measure(engine: InferenceEngine, fields: dict[str, float]) -> dict[str, float]:
    """The best of several runs, which draw the same tokens; of sampling, its token in the middle.

    A sum of so short times would be that of the machine's stalls.
    """
    decoding, sampling = [], []
    for _ in range(N_RUNS):
        engine.reset()
        engine.metrics.reset()
        TimedSampler.times.clear()
        for _event in engine.events(PROMPT, N_TOKENS, sampler=SamplerConfig(**fields, seed=0)):
            pass
        decoding.append(engine.metrics_snapshot().decode_seconds / N_TOKENS)
        sampling.append(statistics.median(TimedSampler.times))
    return {"token": 1000 * min(decoding), "sampling": 1000 * min(sampling)}
