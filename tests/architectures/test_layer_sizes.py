"""Layers of different sizes: metadata that holds an array instead of one number for all layers.

A model is compared with a larger one that computes the same: its key heads are there several times,
and what it has more of query heads and feed-forward values has a weight of 0.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from architecture_files import MANY_IDS
from executors import kernel_executor, numpy_executor
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, TinyFile

from oxillama_web.architectures import build_model
from oxillama_web.backends.api import Executor
from oxillama_web.errors import ModelFormatError
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.plan.operations.attention import Attention
from oxillama_web.plan.operations.rope import Rope

HEAD_DIM = 16
HEADS, KV_HEADS, FFNS = [4, 2, 4], [2, 1, 4], [96, 32, 64]
IDS = MANY_IDS[0][:70]


def write(
    folder: Path, *, padded: bool = False, **metadata: int | list[int] | list[bool]
) -> GGUFFile:
    """Write a Llama of HEADS, KV_HEADS and FFNS, or with the largest of each in all layers.

    Args:
        metadata: what replaces the metadata; two underscores stand for a dot.
    """
    file = TinyFile(folder / "layers.gguf", "llama", "F32", seed=5)
    sizes = {
        "block_count": 3,
        "context_length": 512,
        "embedding_length": WIDTH,
        "attention__key_length": HEAD_DIM,
        "attention__head_count": 4 if padded else HEADS,
        "attention__head_count_kv": 4 if padded else KV_HEADS,
        "feed_forward_length": 96 if padded else FFNS,
        "rope__dimension_count": HEAD_DIM,
    }
    for name, value in (sizes | metadata).items():
        key = "llama." + name.replace("__", ".")
        if isinstance(value, list):
            file.writer.add_array(key, value)
        else:
            file.writer.add_uint32(key, value)
    file.writer.add_layer_norm_rms_eps(1e-5)
    add_byte_level_vocabulary(file.writer, VOCAB)
    file.embedding()
    for layer in range(3):
        write_layer(file, layer, padded=padded)
    file.norm("output_norm", WIDTH)
    file.finish()
    return GGUFFile((folder / "layers.gguf").read_bytes())


def write_layer(file: TinyFile, layer: int, *, padded: bool) -> None:
    n_q, n_kv, n_ffn = HEADS[layer] * HEAD_DIM, KV_HEADS[layer] * HEAD_DIM, FFNS[layer]
    rows = {"attn_q": n_q, "attn_k": n_kv, "attn_v": n_kv, "ffn_gate": n_ffn, "ffn_up": n_ffn}
    columns = {"attn_output": n_q, "ffn_down": n_ffn}
    weights = {name: file.random(n, WIDTH) / 6 for name, n in rows.items()}
    weights |= {name: file.random(WIDTH, n) / 6 for name, n in columns.items()}
    if padded:
        for name in ("attn_k", "attn_v"):
            heads = weights[name].reshape(KV_HEADS[layer], HEAD_DIM, WIDTH)
            heads = np.repeat(heads, HEADS[layer] // KV_HEADS[layer], axis=0)
            weights[name] = heads.reshape(-1, WIDTH)
        for name, values in weights.items():
            size = 96 if name.startswith("ffn") else 64
            missing = [(0, 0), (0, size - values.shape[1])] if name in columns else [
                (0, size - len(values)), (0, 0)
            ]  # fmt: skip
            weights[name] = np.pad(values, missing)
    for name, values in weights.items():
        data = gguf.quants.quantize(values.astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
        file.writer.add_tensor(
            f"blk.{layer}.{name}.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q8_0
        )
    file.norm(f"blk.{layer}.attn_norm", WIDTH)
    file.norm(f"blk.{layer}.ffn_norm", WIDTH)


def logits(executor: Executor, piece: int = len(IDS)) -> np.ndarray:
    cache = executor.new_cache()
    parts = [IDS[start : start + piece] for start in range(0, len(IDS), piece)]
    return np.concatenate([np.array(executor.forward(cache, part, "all")) for part in parts])


def test_layers_compute_with_the_sizes_that_arrays_state(tmp_path: Path) -> None:
    model, larger = write(tmp_path), write(tmp_path, padded=True)
    config, plan = build_model(model)
    assert (config.n_heads, config.n_kv_heads, config.ffn_size) == (4, 4, 96)
    assert [(layer.n_heads, layer.k_dim) for layer in plan.kv_layers] == [(2, 16), (1, 16), (4, 16)]
    exact = logits(numpy_executor(model))
    np.testing.assert_allclose(exact, logits(numpy_executor(larger)), rtol=1e-4, atol=1e-4)


def test_kernels_pieces_and_threads(tmp_path: Path) -> None:
    """Buffers of several widths share their memory, so threads must wait for each other."""
    model = write(tmp_path)
    exact = logits(numpy_executor(model))
    one = logits(kernel_executor(model, n_threads=1))
    assert np.abs(one - exact).max() < 0.03 * np.abs(exact).max()
    for n_threads in (2, 3):
        executor = kernel_executor(model, n_threads=n_threads)
        for piece in (len(IDS), 9, 1):
            np.testing.assert_array_equal(logits(executor, piece), one)


def test_arrays_of_equal_numbers_are_one_number(tmp_path: Path) -> None:
    same = {"attention__key_length": [16] * 3, "rope__dimension_count": [16] * 3}
    windows = {"attention__sliding_window": [7, 7, 7]}
    arrays = build_model(write(tmp_path, **same, **windows))
    numbers = build_model(write(tmp_path, attention__sliding_window=7))
    assert (arrays[0], arrays[1].ops) == (numbers[0], numbers[1].ops)


def test_windows_and_rotated_values_of_each_layer(tmp_path: Path) -> None:
    model = write(tmp_path, attention__sliding_window=[7, 0, 9], rope__dimension_count=[16, 8, 16])
    plan = build_model(model)[1]
    assert [op.window for op in plan.ops if isinstance(op, Attention)] == [7, 0, 9]
    rotated = [(op.n_rot, plan.buffers[op.table].width) for op in plan.ops if isinstance(op, Rope)]
    assert rotated == [(16, 16)] * 2 + [(8, 8)] * 2 + [(16, 16)] * 2


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"attention__head_count": [4, 2]}, "head_count has 2 entries for 3 layers"),
        ({"attention__head_count_kv": [2, 0, 4]}, "head_count_kv is 0 in layer 1"),
        ({"attention__head_count_kv": [2, -1, 4]}, "head_count_kv is -1 in layer 1"),
        ({"attention__head_count_kv": [0, 0, 0]}, "head_count_kv is 0; it must be 1 or more"),
        ({"attention__head_count_kv": [2, 1, 3]}, "4 attention heads cannot be shared by 3"),
        ({"attention__head_count": [4, 4, 4]}, "does not fit"),
        ({"feed_forward_length": [96, 33, 64]}, "feed_forward_length is 33 in layer 1"),
        ({"feed_forward_length": [True, True, True]}, "feed_forward_length is True in layer 0"),
        ({"block_count": 2**31}, "block_count is 2147483648, and the file holds"),
    ],
)
def test_arrays_that_do_not_fit(
    tmp_path: Path, metadata: dict[str, int | list[int]], message: str
) -> None:
    with pytest.raises(ModelFormatError, match=message):
        build_model(write(tmp_path, **metadata))
