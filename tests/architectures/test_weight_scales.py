"""Scales of whole matrices, `X.scale` beside `X.weight`, as files of NVFP4 and of BitNet have them.

Powers of two change no bit, so a file with scales computes exactly what scaled weights do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from architecture_files import MANY_IDS, write_case
from executors import kernel_executor, numpy_executor
from gguf_records import TensorRecord, read_records, write_records

from oxillama_web.architectures import build_model
from oxillama_web.errors import ModelFormatError
from oxillama_web.gguf.reader import GGUFFile

IDS = MANY_IDS[0][:21]


def with_scales(path: Path, case: str, format: str, *, merged: bool) -> GGUFFile:
    """Write a case whose matrices of layers have scales, or the scaled weights, in float32."""
    write_case(path, case, format)
    metadata, tensors = read_records(path.read_bytes())
    scaled = []
    for number, tensor in enumerate(tensors):
        is_matrix = tensor.name.startswith("blk.") and len(tensor.shape) > 1
        if not is_matrix or "ffn_gate_inp" in tensor.name:
            scaled.append(tensor)
            continue
        experts = tensor.shape[2] if len(tensor.shape) == 3 else 1
        scales = 2.0 ** ((number + np.arange(experts)) % 3 - 1).astype(np.float32)
        if merged:
            values = np.frombuffer(tensor.data, np.float32).reshape(experts, -1)
            scaled.append(tensor._replace(data=(values * scales[:, None]).tobytes()))
        else:
            name = tensor.name.replace(".weight", ".scale")
            scaled += [tensor, TensorRecord(name, (experts,), 0, scales.tobytes())]
    return GGUFFile(write_records(metadata, scaled))


@pytest.mark.parametrize("case", ["llama3", "phi3", "mixtral", "bitnet"])
def test_scales_equal_scaled_weights(case: str, tmp_path: Path) -> None:
    model = with_scales(tmp_path / "scales.gguf", case, "F32", merged=False)
    expected = with_scales(tmp_path / "merged.gguf", case, "F32", merged=True)
    for executor in (numpy_executor, kernel_executor):
        ours, theirs = executor(model), executor(expected)
        for ids in (IDS, IDS[:1]):
            np.testing.assert_array_equal(
                np.array(ours.forward(ours.new_cache(), ids, "all")),
                np.array(theirs.forward(theirs.new_cache(), ids, "all")),
            )


def test_kernels_scale_products_of_quantized_weights(tmp_path: Path) -> None:
    model = with_scales(tmp_path / "scales.gguf", "mixtral", "Q8_0", merged=False)
    results = [
        np.array(runner.forward(runner.new_cache(), IDS, "all"))
        for runner in (numpy_executor(model), kernel_executor(model))
    ]
    assert np.abs(results[0] - results[1]).max() < 0.03 * np.abs(results[0]).max()


def test_a_scale_of_another_size_is_refused(tmp_path: Path) -> None:
    write_case(tmp_path / "model.gguf", "llama", "F32")
    metadata, tensors = read_records((tmp_path / "model.gguf").read_bytes())
    tensors.append(TensorRecord("blk.1.attn_q.scale", (2,), 0, bytes(8)))
    with pytest.raises(ModelFormatError, match=r"attn_q\.scale' holds 2 values, where 1"):
        build_model(GGUFFile(write_records(metadata, tensors)))
