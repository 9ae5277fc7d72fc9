"""The same prompt with several samplers, and an answer that a grammar keeps to three words."""

from __future__ import annotations

import sys

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.hub.models import fetch

SAMPLERS = {
    "greedy": SamplerConfig.greedy(),
    "nucleus": SamplerConfig(temperature=1.0, top_k=0, top_p=0.9, seed=1),
    "mirostat": SamplerConfig(mirostat=2, mirostat_tau=4.0, seed=1),
    "without top choices": SamplerConfig(xtc_threshold=0.1, xtc_probability=1.0, seed=1),
    "no repetitions": SamplerConfig(dry_multiplier=0.8, seed=1),
    "three words": SamplerConfig(seed=1, grammar='root ::= " " [a-z]+ " " [a-z]+ " " [a-z]+ "."'),
}


def main(max_tokens: int = 24) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path)))
    engine.load_model()
    for name, sampler in SAMPLERS.items():
        engine.reset()
        print(f"{name}:{engine.generate('The sea is', max_tokens, sampler=sampler)!r}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
