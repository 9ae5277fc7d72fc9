"""JSON answers and free ones: test_grammar_browser.py runs it in Pyodide."""

from __future__ import annotations

import json
import time

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.sampling import Sampler

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 60},
        "summary": {"type": "string"},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
        "authors": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "kind": {"enum": ["book", "article", "talk"]},
    },
    "required": ["title", "summary", "year", "authors", "kind"],
}
PROMPT = "A book about lighthouses, described as JSON with a title and a summary:\n"
N_TOKENS = 40
SAMPLERS: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0.0, "repetition_penalty": 1.0},
    "default": {},
    "top_p": {"top_k": 0, "top_p": 0.9, "temperature": 1.0},
}


class TimedSampler(Sampler):
    """Adds up how long sampling takes, in seconds."""

    seconds = 0.0

    def sample(self, *arguments: object) -> int:
        start = time.perf_counter()
        token = super().sample(*arguments)
        TimedSampler.seconds += time.perf_counter() - start
        return token


def run(model: bytearray, _: str = "") -> str:
    """As JSON, for each kind of sampler: milliseconds a token of free answers and of JSON."""
    from oxillama_web.inference import generation

    generation.Sampler = TimedSampler
    engine = InferenceEngine(EngineConfig(num_threads=1))
    engine.load_model_from_bytes(model, None, consume=True)
    return json.dumps({name: compare(engine, fields) for name, fields in SAMPLERS.items()})


def compare(engine: InferenceEngine, fields: dict[str, float]) -> dict[str, object]:
    """Milliseconds a token, and how many of them sampling takes; the best of two runs each."""
    answers: dict[str, list[tuple[float, float]]] = {"first_json": [], "free": [], "json": []}
    json_sampler = SamplerConfig(**fields, seed=0, json_schema=SCHEMA)
    answers["first_json"].append(decode(engine, json_sampler))
    for _ in range(2):
        answers["free"].append(decode(engine, SamplerConfig(**fields, seed=0)))
        answers["json"].append(decode(engine, json_sampler))
    return {
        name: {
            "token": min(token for token, _ in times),
            "sampling": min(sampling for _, sampling in times),
        }
        for name, times in answers.items()
    }


def decode(engine: InferenceEngine, sampler: SamplerConfig) -> tuple[float, float]:
    """Return milliseconds a token, and how many of them sampling takes, without the prompt."""
    engine.reset()
    engine.metrics.reset()
    TimedSampler.seconds = 0.0
    events = engine.events(PROMPT, N_TOKENS, sampler=sampler)
    n_tokens = sum(event.token is not None for event in events)
    seconds = engine.metrics_snapshot().decode_seconds
    return 1000 * seconds / n_tokens, 1000 * TimedSampler.seconds / n_tokens
