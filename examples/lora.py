"""Applies a LoRA adapter and takes it away again.

    python examples/lora.py [ADAPTER.gguf]

Without an adapter it makes one of chance, which changes the answer and improves nothing; that needs
the package gguf.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.hub.models import fetch


def main(max_tokens: int = 20, adapter: str | None = None) -> None:
    engine = InferenceEngine(EngineConfig(model_path=str(fetch("smollm2-135m-instruct"))))
    engine.load_model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(adapter) if adapter else random_adapter(Path(folder) / "adapter.gguf")
        for scale in (0.0, 1.0, 0.0):
            if scale:
                engine.push_lora(path, scale)
            else:
                engine.clear_loras()
            engine.reset()
            text = engine.generate("Once upon a time", max_tokens, sampler=SamplerConfig.greedy())
            print(f"{scale}: {text!r}")


def random_adapter(path: Path) -> Path:
    """A file in llama.cpp's format: A [rank, n_in] and B [n_out, rank] for one weight a layer."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for layer in range(30):
        for part, shape in (("a", (8, 576)), ("b", (576, 8))):
            values = rng.standard_normal(shape).astype(np.float32) / 16
            writer.add_tensor(f"blk.{layer}.attn_output.weight.lora_{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


if __name__ == "__main__":
    main(adapter=sys.argv[1] if len(sys.argv) > 1 else None)
