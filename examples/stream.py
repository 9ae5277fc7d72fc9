"""Prints an answer as it comes, with what was probable at each token, up to a stop string."""

from __future__ import annotations

import math
import sys

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.hub.models import fetch


def main(max_tokens: int = 40) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path)))
    engine.load_model()
    for event in engine.events(
        "The three primary colours are", max_tokens, sampler=SamplerConfig.greedy(), stop=["\n"],
        logprobs=2,
    ):  # fmt: skip
        if event.logprobs is not None:
            others = [
                f"{engine.decode_token(token)!r} {math.exp(value):.0%}"
                for token, value in event.logprobs.top
            ]
            print(f"{event.text!r:16} {', '.join(others)}")
    print("ended by:", event.finish_reason)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
