"""Whole models whose weights are random bytes: any scale may be infinite or no number.

All memory has exactly the size that was asked for; test_sanitizers.py runs this file again with
libraries that stop at a misplaced access.
"""

from __future__ import annotations

import ctypes
import itertools
from pathlib import Path

import numpy as np
import pytest
from architecture_files import write_case
from executors import kernel_executor
from gguf_files import write_tiny_bert, write_tiny_experts, write_tiny_gemma3, write_tiny_llama
from linear_driver import SANITIZE, Block, build, libraries, load

from oxillama_web.architectures import build_model
from oxillama_web.backends.kernels import abi, device, weights
from oxillama_web.backends.kernels import library as executors_library
from oxillama_web.backends.kernels.memory import Memory
from oxillama_web.gguf.reader import GGUFFile, TensorInfo

SIZES = {"width": 256, "ffn": 256, "n_layers": 2, "with_vocabulary": False}


def write_llama(path: Path, format_name: str) -> None:
    write_tiny_llama(path, format=format_name, vocab=300, **SIZES)


def write_gemma3(path: Path, format_name: str) -> None:
    write_tiny_gemma3(path, format=format_name, vocab=300, head_dim=128, **SIZES)


def write_gpt2(path: Path, format_name: str) -> None:
    write_case(path, "gpt2", format_name)


def write_stablelm(path: Path, format_name: str) -> None:
    write_case(path, "stablelm-12b", format_name)


def write_experts(path: Path, format_name: str) -> None:
    write_tiny_experts(path, format=format_name, vocab=300, n_experts=3, **SIZES)


def write_bert(path: Path, format_name: str) -> None:
    write_tiny_bert(path, format=format_name, context_length=80, **SIZES)


class ExactMemory:
    """Like oxillama_web.backends.kernels.memory.Memory, without a byte more than was asked for."""

    def __init__(self, n_bytes: int) -> None:
        self._block = Block(n_bytes or 64)
        self.address, self.n_bytes = self._block.address, n_bytes
        self.view = memoryview((ctypes.c_ubyte * n_bytes).from_address(self.address)).cast("B")

    write, read, floats = Memory.write, Memory.read, Memory.floats


@pytest.fixture(autouse=True)
def exact_memory(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Makes executors take exact memory, and a block of its own for every weight."""
    homes: list[Block] = []
    make_tensor = weights._tensor

    def in_exact_memory(info: TensorInfo, address: int) -> abi.Tensor:
        homes.append(Block(info.nbytes, ctypes.string_at(address, info.nbytes)))
        return make_tensor(info, homes[-1].address)

    monkeypatch.setattr(weights, "_tensor", in_exact_memory)
    monkeypatch.setattr(device, "Memory", ExactMemory)
    if SANITIZE:
        monkeypatch.setattr(executors_library, "KERNELS_FOLDER", build.SANITIZED)
    return homes


MODELS = [
    *itertools.product((write_llama, write_gemma3), ("Q8_0", "Q4_K", "Q6_K", "IQ4_XS", "F16")),
    # layer norms, merged matrices, learned positions
    (write_gpt2, "Q8_0"),
    (write_stablelm, "Q8_0"),
    *itertools.product((write_experts, write_bert), ("Q8_0", "Q4_K", "F16")),
]


# Formats of weights do not meet those of the cache: one stands for all.
RUNS = [
    *((model, "f16", 2) for model in MODELS),
    *(
        (model, kv_cache_type, n_threads)
        for model in MODELS
        if model[1] == "Q8_0"
        for kv_cache_type, n_threads in (("f16", 1), ("f32", 2), ("q8_0", 1))
    ),
]


@pytest.fixture(scope="module")
def model_bytes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> bytearray:
    """A model file with every weight's bytes random."""
    path = tmp_path_factory.mktemp("random") / "tiny.gguf"
    write, format_name = request.param
    write(path, format_name)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(len(content))
    for info in GGUFFile(bytes(content)).tensors.values():
        content[info.offset : info.offset + info.nbytes] = rng.bytes(info.nbytes)
    return content


@pytest.mark.parametrize(
    ("model_bytes", "kv_cache_type", "n_threads"),
    RUNS,
    indirect=["model_bytes"],
    ids=[f"{model[0].__name__}-{model[1]}-{kv}-{n}" for model, kv, n in RUNS],
)
@pytest.mark.parametrize("isa", libraries())
def test_any_weights_run(
    model_bytes: bytearray, isa: str, kv_cache_type: str, n_threads: int
) -> None:
    load(isa)
    library = executors_library.load_library(f"{isa}-sanitize" if SANITIZE else isa)
    gguf = GGUFFile(bytes(model_bytes))
    config, plan = build_model(gguf)
    executor = kernel_executor(gguf, library, n_threads, kv_cache_type, plan)
    width = config.hidden_size if plan.is_encoder else config.vocab_size
    cache = executor.new_cache()
    for tokens in (list(range(70)), [5], [6, 7], [8]):
        assert len(executor.forward(cache, tokens, "last")) == width
    other = executor.new_cache()
    batch = [(cache, [9]), (other, list(range(65)))]
    assert len(executor.forward_batch(batch, "all")) == 66 * width
    assert (cache.length, other.length) == (75, 65)
    executor.close()
