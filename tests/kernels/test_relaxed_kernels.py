"""libox-relaxed's matrix products against NumPy, on any processor.

Browsers use that library only where one instruction sums four products. Wasmtime can anywhere:
told to follow WebAssembly's deterministic profile, it sums them by several.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from linear_driver import QUANTIZED_FORMATS, Weight, build, operation_row, random_weight
from test_linear import assert_product, random_input
from wasmtime import Config, Engine, Func, Instance, Limits, Memory, MemoryType, Module, Store

from oxillama_web.backends.kernels import abi
from oxillama_web.plan.operations.linear import Linear, Quantize

STACK_AND_DATA = 1 << 20  # the module's own memory lies below


class Library(NamedTuple):
    engine: Engine
    module: Module


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    paths = build.build_pool(tmp_path_factory.mktemp("pool"))
    config = Config()
    config.wasm_relaxed_simd = True
    config.wasm_relaxed_simd_deterministic = True
    [path] = [path for path in paths if path.name == "ox-single-relaxed.wasm"]
    engine = Engine(config)
    return Library(engine, Module.from_file(engine, str(path)))


class Kernels:
    """An instance of the library, and what is put into its memory."""

    def __init__(self, library: Library) -> None:
        self._store = Store(library.engine)
        self._memory = Memory(self._store, MemoryType(Limits(256, 65536)))
        self._exports = Instance(self._store, library.module, [self._memory]).exports(self._store)
        self._end = STACK_AND_DATA

    def call(self, name: str, *arguments: int) -> int:
        function = self._exports[name]
        assert isinstance(function, Func)
        return int(function(self._store, *arguments))

    def allocate(self, n_bytes: int) -> int:
        start, self._end = self._end, -(-(self._end + n_bytes) // 64) * 64
        return start

    def place(self, content: bytes) -> int:
        address = self.allocate(len(content))
        self.write(address, content)
        return address

    def write(self, address: int, content: bytes) -> None:
        self._memory.write(self._store, content, address)

    def floats(self, address: int, n: int) -> np.ndarray:
        return np.frombuffer(bytes(self._memory.read(self._store, address, address + 4 * n)), "<f4")


def multiply(library: Library, weight: Weight, x: np.ndarray) -> np.ndarray:
    """weight @ x"""
    kernels, n, n_out, n_in = Kernels(library), len(x), weight.n_out, weight.n_in
    assert kernels.call("ox_format_supported", weight.format) == 1
    content = weight.content()
    source, target = kernels.place(x.tobytes()), kernels.allocate(4 * n * n_out)
    at = kernels.place(content)
    tensor = kernels.place(bytes(abi.Tensor(at, len(content), weight.format, 0, n_in, n_out)))
    buffers = [abi.Buffer(source, n, n_in, 0, 0), abi.Buffer(target, n, n_out, 0, 0)]
    operations = bytes(operation_row(Quantize, src=0)) + bytes(
        operation_row(Linear, dst=1, src=0, weight=0)
    )
    buffer_table = kernels.place(b"".join(map(bytes, buffers)))
    tables = abi.Model(
        tensors=tensor, buffers=buffer_table, ops=kernels.place(operations),
        n_tensors=1, n_buffers=2, n_ops=2,
    )  # fmt: skip
    model = kernels.place(bytes(tables))
    tokens, sequence = kernels.allocate(4 * n), kernels.place(bytes(abi.Sequence(n_tokens=n)))
    batch = kernels.place(bytes(abi.Batch(tokens, 0, sequence, n, 0, 1)))
    pack_bytes = kernels.call("ox_pack_scratch_bytes", tensor)
    scratch = kernels.allocate(pack_bytes)
    assert kernels.call("ox_pack", tensor, 0, n_out >> 4, scratch, pack_bytes) == 0
    kernels.write(tensor + abi.Tensor.packed.offset, (1).to_bytes(4, "little"))
    assert kernels.call("ox_check_model", model) == 0
    scratch_bytes = kernels.call("ox_scratch_bytes", model, n, 1)
    scratch = kernels.allocate(scratch_bytes)
    assert kernels.call("ox_forward", model, batch, scratch, scratch_bytes) == 0
    return kernels.floats(target, n * n_out).reshape(n, n_out)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZED_FORMATS)
def test_matches_numpy(library: Library, name: str) -> None:
    weight, x = random_weight(name, 37, 512), random_input(9, 512)
    for n in (9, 1, 2, 3, 4):
        assert_product(weight, x[:n], multiply(library, weight, x[:n]))
