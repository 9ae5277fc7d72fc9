"""Mixtures of experts and encoders against llama.cpp, on tiny files of random weights.

tests/golden/make_experts_and_encoders.py made the golden values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from architecture_files import EXPERTS_AND_ENCODERS, write_case
from executors import kernel_executor, numpy_executor
from gguf_files import write_tiny_bert, write_tiny_experts
from linear_driver import libraries
from paths import GOLDEN as GOLDEN_FOLDER

from oxillama_web.architectures import build_model
from oxillama_web.backends.api import Executor
from oxillama_web.errors import InvalidRequestError, ModelFormatError, UnsupportedModelError
from oxillama_web.gguf.reader import GGUFFile

GOLDEN = json.loads((GOLDEN_FOLDER / "experts_and_encoders.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=EXPERTS_AND_ENCODERS)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"name": request.param, **GOLDEN[request.param]}


def model(case: dict[str, Any], folder: Path, format: str) -> GGUFFile:
    path = folder / f"{case['name']}-{format}.gguf"
    write_case(path, case["name"], format)
    return GGUFFile(path.read_bytes())


def run(executor: Executor, ids: list[int]) -> np.ndarray:
    values = executor.forward(executor.new_cache(), ids, "all")
    return np.array(values, np.float32).reshape(len(ids), -1)


def test_numpy_computes_what_llama_cpp_does(case: dict[str, Any], tmp_path: Path) -> None:
    found = run(numpy_executor(model(case, tmp_path, "F32")), case["ids"])[case["positions"]]
    expected = np.array(case["exact"])
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("variant", libraries())
def test_kernels_compute_what_numpy_does(
    case: dict[str, Any], variant: str, tmp_path: Path
) -> None:
    gguf = model(case, tmp_path, "F32")
    expected = run(numpy_executor(gguf), case["ids"])
    found = run(kernel_executor(gguf, variant, kv_cache_type="f32"), case["ids"])
    assert np.abs(found - expected).max() < 3e-6 * np.abs(expected).max()


@pytest.mark.parametrize("variant", libraries())
def test_quantized_kernels_stray_no_further_than_llama_cpp(
    case: dict[str, Any], variant: str, tmp_path: Path
) -> None:
    exact = run(numpy_executor(model(case, tmp_path, "F32")), case["ids"])
    found = run(kernel_executor(model(case, tmp_path, "Q8_0"), variant), case["ids"])
    assert np.linalg.norm(found - exact) < 1.1 * case["q8_0_error"] * np.linalg.norm(exact)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("variant", libraries())
def test_kernels_compute_the_same_bits_together_and_alone(
    case: dict[str, Any], variant: str, n_threads: int, tmp_path: Path
) -> None:
    executor = kernel_executor(model(case, tmp_path, "Q8_0"), variant, n_threads=n_threads)
    texts = [case["ids"], case["ids"][5:6], case["ids"][3:20], case["ids"][::-1][:33]]
    alone = np.concatenate([run(executor, ids) for ids in texts])
    batch = [(executor.new_cache(), ids) for ids in texts]
    together = np.array(executor.forward_batch(batch, "all"), np.float32)
    np.testing.assert_array_equal(together.reshape(alone.shape), alone)


@pytest.mark.parametrize("format", ["Q4_0", "Q5_1", "F16", "BF16"])
def test_other_formats(case: dict[str, Any], format: str, tmp_path: Path) -> None:
    gguf = model(case, tmp_path, format)
    expected = run(numpy_executor(gguf), case["ids"])
    found = run(kernel_executor(gguf, libraries()[-1]), case["ids"])
    # the median: rounding may choose another expert for a token here and there
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert np.median(errors) < 0.03


def test_an_encoder_sees_what_comes_after(tmp_path: Path) -> None:
    write_tiny_bert(tmp_path / "bert.gguf", format="F32")
    gguf = GGUFFile((tmp_path / "bert.gguf").read_bytes())
    for executor in (numpy_executor(gguf), kernel_executor(gguf, libraries()[-1])):
        whole = run(executor, [10, 11, 12, 13])
        assert np.abs(run(executor, [10, 11, 12, 14])[0] - whole[0]).max() > 1e-3


def test_a_bert_has_only_the_positions_that_it_learned(tmp_path: Path) -> None:
    write_tiny_bert(tmp_path / "bert.gguf", context_length=16)
    gguf = GGUFFile((tmp_path / "bert.gguf").read_bytes())
    config, _ = build_model(gguf)
    assert config.context_size == 16
    with pytest.raises(InvalidRequestError, match="16 positions"):
        build_model(gguf, 17)


@pytest.mark.parametrize(("n_experts", "n_used"), [(4, 0), (4, 5)])
def test_numbers_of_experts_that_make_no_sense(n_experts: int, n_used: int, tmp_path: Path) -> None:
    path = tmp_path / "experts.gguf"
    write_tiny_experts(path, n_experts=n_experts, n_used=n_used)
    with pytest.raises(ModelFormatError, match="expert"):
        build_model(GGUFFile(path.read_bytes()))


def test_experts_that_are_too_few(tmp_path: Path) -> None:
    """The tensor must hold as many matrices as the router has outputs."""
    path = tmp_path / "experts.gguf"
    write_tiny_experts(path, n_experts=4)
    gguf = GGUFFile(path.read_bytes())
    name = "blk.1.ffn_up_exps.weight"
    gguf.tensors[name] = gguf.tensors[name]._replace(shape=(64, 96, 3))
    with pytest.raises(ModelFormatError, match=r"blk\.1\.ffn_up_exps\.weight.*4 experts"):
        build_model(gguf)
    del gguf.tensors[name]
    with pytest.raises(ModelFormatError, match=r"no tensor 'blk\.1\.ffn_up_exps\.weight'"):
        build_model(gguf)


def test_a_tensor_for_each_expert_is_refused(tmp_path: Path) -> None:
    """As converters wrote them until April 2024."""
    path = tmp_path / "experts.gguf"
    write_tiny_experts(path, n_experts=4)
    gguf = GGUFFile(path.read_bytes())
    merged = gguf.tensors.pop("blk.0.ffn_gate_exps.weight")
    for expert in range(4):
        name = f"blk.0.ffn_gate.{expert}.weight"
        gguf.tensors[name] = merged._replace(name=name, shape=merged.shape[:2])
    with pytest.raises(UnsupportedModelError, match="a newer file"):
        build_model(gguf)


@pytest.mark.parametrize("shape", [(63,), (64, 2), (1,)])
def test_a_shared_expert_has_one_gate(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "experts.gguf"
    write_tiny_experts(path, arch="qwen2moe")
    gguf = GGUFFile(path.read_bytes())
    name = "blk.0.ffn_gate_inp_shexp.weight"
    gguf.tensors[name] = gguf.tensors[name]._replace(shape=shape)
    with pytest.raises(ModelFormatError, match="ffn_gate_inp_shexp"):
        build_model(gguf)
