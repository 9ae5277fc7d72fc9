"""An answer longer than the context: the oldest tokens are forgotten, the first ones kept."""

from __future__ import annotations

import sys

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.hub.models import fetch


def main(max_tokens: int = 100) -> None:
    path = fetch("smollm2-135m-instruct")
    config = EngineConfig(
        model_path=str(path),
        sampler=SamplerConfig(temperature=0.8, seed=1),
        context_size=64,
        context_full="shift",
        context_keep=8,
    )
    engine = InferenceEngine(config)
    engine.load_model()
    for piece in engine.stream("A long story about a lighthouse keeper:", max_tokens):
        print(piece, end="", flush=True)
    print(f"\n[{engine.kv_cache_seq_len} tokens in the context]")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
