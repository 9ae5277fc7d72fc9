"""T5's biases of scores: the buckets of distances, and the formats that files have them in."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from architecture_files import CASES, MANY_IDS
from executors import kernel_executor, numpy_executor
from tiny_file import TinyFile

from oxillama_web.architectures import build_model
from oxillama_web.architectures.t5encoder import distance_buckets
from oxillama_web.errors import ModelFormatError, UnsupportedModelError
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.gguf.types import GGMLType

BIAS = "enc.blk.0.attn_rel_b.weight"


@pytest.mark.parametrize("n_buckets", [16, 32, 64])
def test_buckets_are_those_of_transformers(n_buckets: int) -> None:
    """T5Attention._relative_position_bucket, which computes in float32."""
    relative = np.arange(-128, 129)
    half, exact = n_buckets // 2, n_buckets // 4
    distance = np.abs(relative)
    logarithm = np.log(np.maximum(distance, 1).astype(np.float32) / exact)
    large = exact + (logarithm / np.log(128 / exact) * (half - exact)).astype(np.int64)
    expected = np.where(distance < exact, distance, np.minimum(large, half - 1))
    np.testing.assert_array_equal(distance_buckets(n_buckets), expected + half * (relative > 0))


class _BiasIn(TinyFile):
    """A file whose biases have a format of their own."""

    bias_format = "F16"

    def vector(self, name: str, values: np.ndarray) -> None:
        if name != BIAS:
            super().vector(name, values)
            return
        kind = gguf.GGMLQuantizationType[self.bias_format]
        data = gguf.quants.quantize(values.astype(np.float32), kind)
        self.writer.add_tensor(name, data, raw_dtype=kind)


def model(folder: Path, bias_format: str) -> GGUFFile:
    file = _BiasIn(folder / "t5.gguf", "t5encoder", "F32", seed=1)
    file.bias_format = bias_format
    CASES["t5encoder"].fill(file)
    file.finish()
    return GGUFFile((folder / "t5.gguf").read_bytes())


@pytest.mark.parametrize("bias_format", ["F32", "F16", "BF16"])
def test_formats_of_the_bias(bias_format: str, tmp_path: Path) -> None:
    gguf_file, ids = model(tmp_path, bias_format), MANY_IDS[0][:150]
    exact, found = (
        np.array(executor.forward(executor.new_cache(), ids, "all"))
        for executor in (numpy_executor(gguf_file), kernel_executor(gguf_file))
    )
    assert np.abs(found - exact).max() < 3e-6 * np.abs(exact).max()


def test_biases_that_do_not_fit(tmp_path: Path) -> None:
    gguf_file = model(tmp_path, "F32")
    tensors, metadata = dict(gguf_file.tensors), gguf_file.metadata
    gguf_file.tensors[BIAS] = tensors[BIAS]._replace(format=GGMLType.Q8_0)
    with pytest.raises(UnsupportedModelError, match=r"attn_rel_b.*quantized"):
        build_model(gguf_file)
    gguf_file.tensors[BIAS] = tensors[BIAS]._replace(shape=(4, 31))
    with pytest.raises(ModelFormatError, match=r"attn_rel_b.*\(4, 31\); it must be \(4, 32\)"):
        build_model(gguf_file)
    for n_buckets in (0, 2, 512):
        key = "t5encoder.attention.relative_buckets_count"
        gguf_file.metadata = {**metadata, key: n_buckets}
        with pytest.raises(ModelFormatError, match=f"buckets_count is {n_buckets}"):
            build_model(gguf_file)
