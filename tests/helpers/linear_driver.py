"""Runs one Linear or Embed of a kernel library, and makes weights to run it with."""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from pathlib import Path

import numpy as np
from gguf_files import FORMAT_BY_NAME
from paths import ROOT

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.kernels import library as executors_library
from oxillama_web.backends.kernels.lowering import arguments
from oxillama_web.backends.kernels.memory import Memory
from oxillama_web.gguf.dequantize import dequantize
from oxillama_web.gguf.types import GGMLType
from oxillama_web.plan.plan import Operation, Role

sys.path.insert(0, str(ROOT / "kernels_c"))
import build
from oxillama_web.plan.operations.embedding import Embed
from oxillama_web.plan.operations.linear import Linear, Quantize

SANITIZE = "OXILLAMA_TEST_SANITIZE" in os.environ
# a folder of libraries that are there already, for where nothing can be compiled
READY = os.environ.get("OXILLAMA_TEST_KERNELS")
if READY:
    executors_library.KERNELS_FOLDER = Path(READY)

# the tests of nothing but kernels, which are run again with other builds of them
# Without .py, in tests/.
KERNEL_TESTS = [
    "gguf/test_strings",
    *(
        f"kernels/test_{name}"
        for name in (
            *("linear", "repack", "operations", "attention", "sampling", "match_tokens"),
            *(
                "checksum",
                "kv_shift",
                "check_model",
                "random_weights",
                "thread_pool",
                "experts",
                "pooling",
                "recurrent",
            ),
        )
    ),
]

# All threads wait for each other before an operation, whatever the pass.
EVERY_PASS = abi.BARRIER_MANY | abi.BARRIER_ONE

FLOAT_FORMATS = {known.name: known.value for known in (GGMLType.F32, GGMLType.F16, GGMLType.BF16)}
QUANTIZED_FORMATS = {known.name: known.value for known in GGMLType if known.block_size > 1}
# the bytes of a block at which its float16 scales begin, where that is not the first
SCALE_OFFSETS = {
    **{"Q4_1": (0, 2), "Q5_1": (0, 2), "Q8_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2)},
    **{"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "TQ1_0": (52,), "TQ2_0": (64,)},
}


class Block:
    """Memory of an exact size. Under the sanitizers it comes from malloc, which they watch."""

    def __init__(self, n_bytes: int, content: bytes | None = None) -> None:
        if SANITIZE:
            libc = ctypes.CDLL(None)
            libc.memalign.restype = ctypes.c_void_p
            libc.memalign.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
            self.address = libc.memalign(64, n_bytes)
        else:
            self._memory = Memory(n_bytes)
            self.address = self._memory.address
        self.n_bytes = n_bytes
        ctypes.memset(self.address, 0, n_bytes)
        if content is not None:
            ctypes.memmove(self.address, content, n_bytes)

    def __del__(self) -> None:
        if SANITIZE:
            ctypes.CDLL(None).free(ctypes.c_void_p(self.address))

    def content(self) -> bytes:
        return ctypes.string_at(self.address, self.n_bytes)

    def floats(self, n_rows: int) -> np.ndarray:
        return np.frombuffer(self.content(), np.float32).reshape(n_rows, -1)


class Weight:
    """A weight matrix in memory of the kernels' own kind; `values` is what it stands for."""

    def __init__(self, format_name: str, n_out: int, n_in: int, data: np.ndarray) -> None:
        self.format = {**FLOAT_FORMATS, **QUANTIZED_FORMATS}[format_name]
        self.n_out, self.n_in = n_out, n_in
        self.packed = False
        raw = np.ascontiguousarray(data).view(np.uint8).reshape(n_out, -1)
        self.values = dequantize(raw.tobytes(), self.format, n_out * n_in).reshape(n_out, n_in)
        # an odd address: kernels must take any
        self.memory = Block(raw.size + 1, b"\0" + raw.tobytes())

    def struct(self) -> abi.Tensor:
        address, n_bytes = self.memory.address + 1, self.memory.n_bytes - 1
        return abi.Tensor(address, n_bytes, self.format, self.packed, self.n_in, self.n_out)

    def content(self) -> bytes:
        return self.memory.content()[1:]

    def pack(self, library: ctypes.CDLL) -> None:
        tensor = self.struct()
        assert pack(library, tensor, 0, self.n_out // abi.PANEL_ROWS) == 0
        self.packed = True


def pack(
    library: ctypes.CDLL, tensor: abi.Tensor, first: int, n: int, missing_scratch: int = 0
) -> int:
    """ox_pack of n panels, with scratch memory of the size that it asks for."""
    scratch = Block(library.ox_pack_scratch_bytes(ctypes.byref(tensor)) or 64)
    return library.ox_pack(
        ctypes.byref(tensor),
        first,
        n,
        ctypes.c_void_p(scratch.address),
        ctypes.c_uint64(scratch.n_bytes - missing_scratch),
    )


def random_weight(
    format_name: str, n_out: int, n_in: int, seed: int = 0, scale: float = 0.01
) -> Weight:
    """Random bits in every field, but for float16 scales, which are of a given size."""
    rng = np.random.default_rng(seed)
    if format_name in FLOAT_FORMATS:
        values = rng.normal(0, scale, (n_out, n_in)).astype(np.float32)
        if format_name == "F16":
            return Weight(format_name, n_out, n_in, values.astype(np.float16))
        if format_name == "BF16":
            halves = (values.view(np.uint32) >> 16).astype(np.uint16)
            return Weight(format_name, n_out, n_in, halves)
        return Weight(format_name, n_out, n_in, values)
    known = FORMAT_BY_NAME[format_name]
    n_blocks = n_out * n_in // known.block_size
    blocks = rng.integers(0, 256, (n_blocks, known.block_bytes), dtype=np.uint8)
    for which in range(len(SCALE_OFFSETS.get(format_name, (0,)))):
        put_scale(blocks, format_name, rng.normal(0, scale, n_blocks), which)
    return Weight(format_name, n_out, n_in, blocks)


def put_scale(blocks: np.ndarray, format_name: str, scales: np.ndarray, which: int = 0) -> None:
    """Writes the scale of each block, or the nearest to it that the format can hold.

    blocks: uint8 [n, block_bytes]; which: 1 for the second float16 of formats that have two.
    """
    if format_name == "Q8_K":
        blocks[:, :4] = scales.astype("<f4")[:, None].view(np.uint8)
    elif format_name == "MXFP4":
        exponents = 128 + np.log2(np.maximum(np.abs(scales), 2.0**-128)).round()
        blocks[:, 0] = exponents.clip(0, 255)
    elif format_name == "NVFP4":
        blocks[:, :4] = (np.log2(np.maximum(np.abs(scales), 2.0**-8)).clip(-7, 7) + 8)[:, None] * 8
    else:
        halves = scales.clip(-65504, 65504).astype("<f2")
        if format_name == "IQ1_M":  # nibbles, the highest of four words
            for word in range(4):
                nibble = (halves.view("<u2") >> 4 * word & 15).astype(np.uint8)
                blocks[:, 49 + 2 * word] = blocks[:, 49 + 2 * word] & 15 | nibble << 4
        else:
            offset = SCALE_OFFSETS.get(format_name, (0,))[which]
            blocks[:, offset : offset + 2] = halves[:, None].view(np.uint8)


def run_linear(
    library: ctypes.CDLL,
    weights: list[Weight],
    x: np.ndarray,
    bias: np.ndarray | None = None,
    n_threads: int = 1,
) -> list[np.ndarray]:
    """weights @ x for each of several weights over the same float32 input [n_tokens, n_in].

    The input is quantized once, if some weight is.
    """
    n_tokens = len(x)
    source = Block(x.nbytes, np.ascontiguousarray(x, np.float32).tobytes())
    outputs = [Block(4 * n_tokens * weight.n_out) for weight in weights]
    tensors = [weight.struct() for weight in weights]
    buffers = [abi.Buffer(source.address, n_tokens, x.shape[1], 0, 0)]
    is_quantized = any(weight.format in QUANTIZED_FORMATS.values() for weight in weights)
    operations = [operation_row(Quantize, src=0)] if is_quantized else []
    bias_memory = None
    if bias is not None:
        # an odd address: kernels must take any
        bias_memory = Block(4 * len(bias) + 1, b"\0" + bias.astype(np.float32).tobytes())
        tensors.append(abi.Tensor(bias_memory.address + 1, 4 * len(bias), 0, 0, len(bias), 1))
    for i, (weight, output) in enumerate(zip(weights, outputs, strict=True)):
        buffers.append(abi.Buffer(output.address, n_tokens, weight.n_out, 0, 0))
        operands = {"src": 0, "weight": i, "bias": -1 if bias is None else len(weights)}
        barrier = EVERY_PASS if i == 0 else 0
        operations.append(operation_row(Linear, i + 1, barrier, column=0, **operands))
    _forward(library, tensors, buffers, operations, [0] * n_tokens, n_threads)
    return [output.floats(n_tokens) for output in outputs]


def run_embed(
    library: ctypes.CDLL, weight: Weight, tokens: list[int], scale: float = 1.0
) -> np.ndarray:
    """Rows of a weight as float32."""
    output = Block(4 * len(tokens) * weight.n_in)
    operation = operation_row(Embed, dst=0, weight=0, scale=scale)
    buffers = [abi.Buffer(output.address, len(tokens), weight.n_in, 0, 0)]
    _forward(library, [weight.struct()], buffers, [operation], tokens, 1)
    return output.floats(len(tokens))


def operation_row(
    operation: type[Operation], dst: int = -1, barrier: int = EVERY_PASS, **operands: float
) -> abi.Op:
    """A row of the kernels' table, of numbers: dst is the buffer that is written.

    Weights and constants that are not named are -1, other operands 0.
    """
    names = [operand.name for operand in arguments(operation)]
    assert set(operands) <= set(names), (operation, set(operands) - set(names))
    row = abi.Op(kind=operation.kind, barrier=barrier, dst=dst)
    for operand in arguments(operation):
        absent = -1 if operand.role in (Role.VECTOR, Role.MATRIX, Role.CONSTANT) else 0
        set_operand(row, operation, operand.name, operands.get(operand.name, absent))
    return row


def set_operand(row: abi.Op, operation: type[Operation], name: str, value: float) -> None:
    """Changes an operand of a row, or its `kind` or `dst`."""
    if name in ("kind", "dst"):
        setattr(row, name, value)
        return
    index, operand = next((i, o) for i, o in enumerate(arguments(operation)) if o.name == name)
    is_float = operand.role is Role.FLOAT
    row.args[index] = int.from_bytes(struct.pack("<f", value), "little") if is_float else int(value)


def quantize_activations(x: np.ndarray, refined: bool) -> np.ndarray:
    """What the kernels make of their input: 8 bits in blocks of 32, in float64 again.

    refined: what is left over of blocks far above their token's mean is rounded to 8 bits too, as
    for formats in blocks of 32.
    """
    blocks = x.astype(np.float32).reshape(len(x), -1, 32)
    rounded, scale = quantize_blocks(blocks)
    if not refined:
        return rounded.reshape(x.shape)
    with np.errstate(over="ignore"):
        square = scale * scale
    outlier = square > np.float32(5) * square.sum(axis=1, keepdims=True) / blocks.shape[1]
    rest, _ = quantize_blocks((blocks - rounded.astype(np.float32)).astype(np.float32))
    return np.where(outlier, rounded + rest, rounded).reshape(x.shape)


def quantize_blocks(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rounded values [..., 32] in float64, and scales [..., 1]."""
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    inverse = np.float32(127) / np.maximum(largest, np.float32(2**-99))
    scale = largest / np.float32(127)
    return np.rint(blocks * inverse).astype(np.float64) * scale, scale


def libraries() -> list[str]:
    """The instruction sets that this processor has."""
    names = build.NATIVE_ISAS[build.machine()]
    features = load("portable").ox_cpu_features()
    needed = {"portable": 0, "avx2": 1, "avx512": 2, "neon": 4}
    return [name for name in names if features & needed[name] == needed[name]]


@functools.cache
def load(isa: str) -> ctypes.CDLL:
    """Builds, opens and declares a library."""
    if READY:
        path = Path(READY) / f"libox-{isa}{build.library_suffix()}"
    else:
        [path] = build.build_native(isas=[isa], sanitizer="sanitize" if SANITIZE else "")
    library = ctypes.CDLL(str(path))
    library.ox_scratch_bytes.restype = ctypes.c_uint64
    library.ox_pack_scratch_bytes.restype = ctypes.c_uint64
    return library


def _forward(
    library: ctypes.CDLL,
    tensors: list[abi.Tensor],
    buffers: list[abi.Buffer],
    operations: list[abi.Op],
    tokens: list[int],
    n_threads: int,
) -> None:
    tables = [_table(tensors), _table(buffers), _table(operations)]
    token_table = _table([ctypes.c_int32(token) for token in tokens])
    tensor_table, buffer_table, op_table = map(ctypes.addressof, tables)
    model = abi.Model(
        tensors=tensor_table, buffers=buffer_table, ops=op_table, n_tensors=len(tensors),
        n_buffers=len(buffers), n_ops=len(operations), page_tokens=64, page_bytes=64,
    )  # fmt: skip
    sequence = abi.Sequence(n_tokens=len(tokens))
    batch = abi.Batch(
        ctypes.addressof(token_table), 0, ctypes.addressof(sequence), len(tokens), 0, 1
    )
    assert library.ox_check_model(ctypes.byref(model)) == 0
    scratch = Block(library.ox_scratch_bytes(ctypes.byref(model), len(tokens), n_threads) or 64)
    arguments = [
        *[ctypes.byref(model), ctypes.byref(batch), ctypes.c_void_p(scratch.address)],
        ctypes.c_uint64(scratch.n_bytes),
    ]
    if n_threads == 1:
        assert library.ox_forward(*arguments) == 0
        return
    library.ox_pool_create.restype = ctypes.c_void_p
    pool = ctypes.c_void_p(library.ox_pool_create(n_threads))
    try:
        assert library.ox_pool_forward(pool, *arguments) == 0
    finally:
        library.ox_pool_destroy(pool)


def _table(rows: list[ctypes.Structure]) -> ctypes.Array:
    return (type(rows[0]) * len(rows))(*rows)
