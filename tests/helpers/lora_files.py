"""Writes LoRA adapters with random weights, with the gguf package: an independent writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import gguf
import numpy as np
from gguf import GGMLQuantizationType

from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.plan.lora import LoraAdapter

ADAPTED = ("attn_q.weight", "attn_output.weight", "ffn_down.weight", "ffn_gate.weight")


def changes(model: GGUFFile, seed: int, rank: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A [rank, n_in] and B [n_out, rank] for some weights, the embedding and the head."""
    rng = np.random.default_rng(seed)
    names = [name for name in model.tensors if name.endswith((*ADAPTED, "output.weight"))]
    pairs = {}
    for name in [*names, "token_embd.weight"]:
        n_in, n_out = model.tensors[name].shape
        a = rng.standard_normal((rank, n_in)).astype(np.float32) / np.sqrt(n_in)
        b = rng.standard_normal((n_out, rank)).astype(np.float32) / 4
        pairs[name] = (a.astype(np.float32), b)
    return pairs


def write_adapter(
    path: Path,
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    alpha: float = 8.0,
    format: str = "F32",
    architecture: str = "llama",
    kind: str = "lora",
    copies: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> LoraAdapter:
    """`copies`: tensors that are no changes."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in pairs.items():
        # the embedding's product is B^T A^T: one row of B a token
        first, second = (b, a.T) if name == "token_embd.weight" else (a, b)
        for suffix, values in (("a", first), ("b", second)):
            data = gguf.quants.quantize(np.ascontiguousarray(values), GGMLQuantizationType[format])
            tensor = f"{name}.lora_{suffix}"
            writer.add_tensor(tensor, data, raw_dtype=GGMLQuantizationType[format])
    for name, values in copies.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return LoraAdapter.open(path)
