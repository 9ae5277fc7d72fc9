"""The same answer with and without prompt lookup: a text that is copied comes sooner."""

from __future__ import annotations

import sys

from oxillama_web import EngineConfig, InferenceEngine, PromptLookup, SamplerConfig
from oxillama_web.hub.models import fetch

TEXT = "The harbour was quiet. A few boats lay at the pier, and their crews were mending nets."


def main(max_tokens: int = 60) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path), sampler=SamplerConfig.greedy()))
    engine.load_model()
    messages = [{"role": "user", "content": f"Repeat this text, word for word: {TEXT}"}]
    for speculation in (None, PromptLookup()):
        engine.reset()
        engine.metrics.reset()
        print("".join(engine.chat(messages, max_tokens, speculation=speculation)))
        totals = engine.metrics_snapshot()
        print(
            f"[{totals.decode_tokens_per_second:.0f} tokens/s; "
            f"{totals.accepted_tokens} of {totals.drafted_tokens} guesses were right]"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
