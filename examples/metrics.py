"""What an engine has done, as text for Prometheus."""

from __future__ import annotations

import sys

from oxillama_web import EngineConfig, InferenceEngine
from oxillama_web.hub.models import fetch


def main(max_tokens: int = 30) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path)))
    engine.load_model()
    engine.generate("The weather today", max_tokens)
    print(engine.metrics_snapshot().to_prometheus())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
