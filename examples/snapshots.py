"""Saves a conversation to a file, and goes on from it without reading its text again."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.hub.models import fetch
from oxillama_web.inference.snapshots import KVSnapshot


def main(max_tokens: int = 40) -> None:
    path = fetch("smollm2-135m-instruct")
    config = EngineConfig(model_path=str(path), sampler=SamplerConfig.greedy())
    engine = InferenceEngine(config)
    engine.load_model()
    print(engine.generate("Once upon a time, in a small village,", max_tokens))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conversation.oxkv"
        file.write_bytes(engine.kv_snapshot().to_bytes())
        engine.reset()
        engine.kv_restore(KVSnapshot.from_bytes(file.read_bytes()))
        print(f"[{file.stat().st_size} bytes, {engine.kv_cache_seq_len} tokens]")
    print(engine.generate([], max_tokens))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
