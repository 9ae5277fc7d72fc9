"""Greedy answers with and without prompt lookup: test_speculation_browser.py runs it in Pyodide."""

from __future__ import annotations

import json

from oxillama_web import Drafter, EngineConfig, InferenceEngine, PromptLookup, SamplerConfig

TEXT = (
    "The harbour was quiet in the early morning. A few fishing boats lay at the pier, and their "
    "crews were mending nets. Nobody spoke much. An old man walked along the quay with his dog, as "
    "he did every day, and looked out at the sea. The wind had turned during the night."
)
# the model's chat template, by hand: Jinja is not loaded
PROMPT = (
    "<|im_start|>user\nRepeat this text exactly, word for word:\n\n"
    f"{TEXT}<|im_end|>\n<|im_start|>assistant\n"
)


def run(model: bytearray, _: str = "") -> str:
    """As JSON: whether the tokens are the same, and how many times as fast they come."""
    engine = InferenceEngine(EngineConfig(num_threads=1))
    engine.load_model_from_bytes(model, None, consume=True)
    plain, speculated = [], []
    for _round in range(2):
        plain.append(answer(engine, None))
        speculated.append(answer(engine, PromptLookup()))
    seconds = [min(seconds for _, seconds in answers) for answers in (plain, speculated)]
    return json.dumps(
        {
            "same_tokens": all(tokens == plain[0][0] for tokens, _ in plain + speculated),
            "speedup": seconds[0] / seconds[1],
        }
    )


def answer(engine: InferenceEngine, speculation: Drafter | None) -> tuple[list[int], float]:
    """Tokens, and the seconds that decoding them took."""
    engine.metrics.reset()
    engine.reset()
    events = engine.events(PROMPT, 60, sampler=SamplerConfig.greedy(), speculation=speculation)
    tokens = [event.token for event in events if event.token is not None]
    return tokens, engine.metrics_snapshot().decode_seconds
