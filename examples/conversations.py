"""Several conversations with one model, whose common beginning is computed once."""

from __future__ import annotations

import sys

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.hub.models import fetch


def main(max_tokens: int = 30) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path), sampler=SamplerConfig.greedy()))
    engine.load_model()
    common = engine.conversation()
    common.prefill(engine.tokenize("A traveller comes to a river with an old wooden bridge."))
    for ending in (" The bridge", " The river"):
        fork = common.fork()
        print(ending + fork.generate(ending, max_tokens))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
