"""Greedy decoding by hand: forward passes, a step back, and the same pass again."""

from __future__ import annotations

import sys

import numpy as np

from oxillama_web import EngineConfig, InferenceEngine
from oxillama_web.hub.models import fetch


def main(max_tokens: int = 20) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path)))
    engine.load_model()
    prompt = engine.tokenize("The capital of France is")
    logits = engine.forward_prefill(prompt, 0)
    answer = []
    for position in range(len(prompt), len(prompt) + max_tokens):
        answer.append(int(np.argmax(logits)))
        logits = engine.forward_decode(answer[-1], position)
    print("".join(map(engine.decode_token, answer)))

    engine.truncate(engine.kv_cache_seq_len - 1)
    again = engine.forward_one(answer[-1])
    print("the same logits after a step back:", np.array_equal(logits, again))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
