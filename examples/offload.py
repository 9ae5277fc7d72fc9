"""A model in less memory than its weights take: they are read from the file at each pass."""

from __future__ import annotations

from oxillama_web import EngineConfig, InferenceEngine, OffloadPolicy, SamplerConfig
from oxillama_web.hub.models import fetch


def main(max_tokens: int = 20) -> None:
    path = fetch("smollm2-135m-instruct")
    config = EngineConfig(model_path=str(path), offload_policy=OffloadPolicy.budget(50_000_000))
    engine = InferenceEngine(config)
    engine.load_model()
    question = [{"role": "user", "content": "What is the capital of Germany?"}]
    for piece in engine.chat(question, max_tokens, sampler=SamplerConfig.greedy()):
        print(piece, end="", flush=True)
    pager = engine.layer_pager
    assert pager is not None
    print(f"\nat most {pager.peak_bytes / 1e6:.0f} MB of weights in memory")
    print(f"{pager.bytes_read / 1e6:.0f} MB read from a file of {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
