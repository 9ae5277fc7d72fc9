"""GMAC/s of the matrix products, for each format and instruction set, on one thread.

    python -m bench.kernels                      native libraries
    python -m bench.kernels --wasm               WebAssembly in Chromium
    python -m bench.kernels --formats Q4_1,Q8_0 --tokens 1,64

Each figure is the best of many runs of ox_forward over a plan that holds the same product many
times; rounding the input to 8 bits is part of it. The shapes are SmolLM2-135M's.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import functools
import json
import struct
import time
from pathlib import Path
from typing import Any

from bench.machine import ROOT
from kernels_c import build
from oxillama_web.backends.kernels import abi
from oxillama_web.backends.kernels.lowering import row_format
from oxillama_web.backends.kernels.memory import Memory
from oxillama_web.gguf.types import GGMLType
from oxillama_web.plan.operations.linear import Linear, Quantize
from tools.chromium import FLAGS, find_chromium

FORMATS = {
    known.name: known
    for known in GGMLType
    if known.block_size > 1 or known.name in ("F32", "F16", "BF16")
}
# the bytes of a block that hold the highest bits of its scales, where that is not byte 1 alone
SCALES = {
    **{"Q4_1": [1, 3], "Q5_1": [1, 3], "Q8_1": [1, 3], "Q4_K": [1, 3], "Q5_K": [1, 3]},
    **{"Q2_K": [81, 83], "Q3_K": [109], "Q6_K": [209], "Q8_K": [3], "IQ1_M": [55]},
    **{"TQ1_0": [53], "TQ2_0": [65], "MXFP4": [0], "NVFP4": [0, 1, 2, 3]},
    **{"F32": [], "F16": [], "BF16": []},
}
SHAPES = [(576, 576), (1536, 576), (576, 1536), (49152, 576)]  # n_out, n_in
SECONDS = 0.15  # for each figure
WASM_SECONDS = 0.5  # the engine compiles better code while it runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wasm", action="store_true", help="in Chromium instead of natively")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--tokens", default="1,64", help="batch sizes")
    parser.add_argument("--isa", action="append", help="only this instruction set")
    arguments = parser.parse_args()
    formats = arguments.formats.split(",")
    tokens = [int(n) for n in arguments.tokens.split(",")]
    names = arguments.isa or list(
        build.WASM_ISAS if arguments.wasm else build.NATIVE_ISAS[build.machine()]
    )
    for isa in names:
        print(f"\n{isa}, GMAC/s\n{_heading(tokens)}")
        for name in formats:
            cases = [(_width(name, shape), n) for shape in SHAPES for n in tokens]
            measure = _measure_in_chromium if arguments.wasm else _measure_natively
            try:
                print(f"{name:8}" + "".join(f"{x:>16.1f}" for x in measure(isa, name, cases)))
            except RuntimeError as error:  # libox-relaxed is not for every processor
                print(f"{name:8}  {error}")


Case = tuple[tuple[int, int], int]  # (n_out, n_in), n_tokens


def _heading(tokens: list[int]) -> str:
    columns = [f"{n_out}x{n_in} / {n}" for n_out, n_in in SHAPES for n in tokens]
    return " " * 8 + "".join(f"{column:>16}" for column in columns)


def _width(name: str, shape: tuple[int, int]) -> tuple[int, int]:
    """Rows that blocks of 256 don't divide become a little shorter."""
    block = FORMATS[name].block_size
    return shape[0], shape[1] // block * block


def _operations(block: int) -> bytes:
    """The rows of one product of buffer 0 with tensor 0 into buffer 1."""
    flags = abi.BARRIER_MANY | abi.BARRIER_ONE
    quantize = struct.pack(row_format(Quantize), Quantize.kind, flags, -1, 0)
    linear = struct.pack(row_format(Linear), Linear.kind, flags, 1, 0, 0, -1, 0)
    return quantize + linear if block > 1 else linear


def _repeats(case: Case) -> int:
    (n_out, n_in), n_tokens = case
    return max(1, round(2e7 / (n_out * n_in * n_tokens)))


def _measure_natively(isa: str, name: str, cases: list[Case]) -> list[float]:
    [path] = build.build_native(isas=[isa])
    library = ctypes.CDLL(str(path))
    library.ox_scratch_bytes.restype = ctypes.c_uint64
    library.ox_pack_scratch_bytes.restype = ctypes.c_uint64
    return [_measure_case(library, name, case) for case in cases]


def _measure_case(library: ctypes.CDLL, name: str, case: Case) -> float:
    (n_out, n_in), n_tokens = case
    row = _row(name, n_in)
    weight = Memory(n_out * len(row))
    weight.view[:] = row * n_out
    tensor = abi.Tensor(weight.address, weight.n_bytes, FORMATS[name].value, 0, n_in, n_out)
    scratch = Memory(library.ox_pack_scratch_bytes(ctypes.byref(tensor)) or 64)
    arguments = [ctypes.c_void_p(scratch.address), ctypes.c_uint64(scratch.n_bytes)]
    assert library.ox_pack(ctypes.byref(tensor), 0, n_out // abi.PANEL_ROWS, *arguments) == 0
    tensor.packed = 1

    source = Memory.of_floats([(i * 7919 % 1000) / 500 - 1 for i in range(n_in)] * n_tokens)
    target = Memory(4 * n_tokens * n_out)
    buffers = (abi.Buffer * 2)(
        abi.Buffer(source.address, n_tokens, n_in, 0, 0),
        abi.Buffer(target.address, n_tokens, n_out, 0, 0),
    )
    repeats = _repeats(case)
    rows = _operations(FORMATS[name].block_size) * repeats
    operations = ctypes.create_string_buffer(rows, len(rows))
    model = abi.Model(
        tensors=ctypes.addressof(tensor),
        buffers=ctypes.addressof(buffers),
        ops=ctypes.addressof(operations),
        n_tensors=1,
        n_buffers=2,
        n_ops=len(rows) // ctypes.sizeof(abi.Op),
    )
    token_table = (ctypes.c_int32 * n_tokens)()
    sequence = abi.Sequence(n_tokens=n_tokens)
    batch = abi.Batch(ctypes.addressof(token_table), 0, ctypes.addressof(sequence), n_tokens, 0, 1)
    assert library.ox_check_model(ctypes.byref(model)) == 0
    scratch = Memory(library.ox_scratch_bytes(ctypes.byref(model), n_tokens, 1) or 64)
    arguments = [ctypes.c_void_p(scratch.address), ctypes.c_uint64(scratch.n_bytes)]

    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        assert library.ox_forward(ctypes.byref(model), ctypes.byref(batch), *arguments) == 0
        best = min(best, time.perf_counter() - before)
    return n_out * n_in * n_tokens * repeats / best * 1e-9


def _row(name: str, n_in: int) -> bytes:
    """A row of n_in weights: some bits, but scales that are small numbers."""
    block_bytes, scales = FORMATS[name].block_bytes, SCALES.get(name, [1])
    row_bytes = n_in // FORMATS[name].block_size * block_bytes
    row = bytearray(i * 37 % 251 for i in range(row_bytes))
    for block in range(0, row_bytes, block_bytes):
        for offset in scales:
            row[block + offset] = 0x20
    if not scales:  # floats of about 0.01
        row[block_bytes - 1 :: block_bytes] = bytes([0x3C]) * (row_bytes // block_bytes)
    return bytes(row)


@functools.cache
def _pool_module(isa: str) -> str:
    """In base64. To find out that all modules are built takes seconds."""
    paths = {path.name: path for path in build.build_pool(ROOT / "build" / "pool-kernels")}
    return base64.b64encode(paths[f"ox-shared-{isa}.wasm"].read_bytes()).decode()


def _measure_in_chromium(isa: str, name: str, cases: list[Case]) -> list[float]:
    from playwright.sync_api import sync_playwright

    number = FORMATS[name].value
    jobs = []
    for case in cases:
        (n_out, n_in), n_tokens = case
        row = list(_row(name, n_in))
        jobs.append(
            {"number": number, "row": row, "nOut": n_out, "nIn": n_in, "nTokens": n_tokens}
            | {"operations": list(_operations(FORMATS[name].block_size))}
            | {"repeats": 5 * _repeats(case), "milliseconds": WASM_SECONDS * 1000}
        )
    source = (Path(__file__).parent / "pages" / "kernels.js").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page()
        result: dict[str, Any] = page.evaluate(
            f"""() => new Promise((resolve, reject) => {{
                const source = new Blob([{json.dumps(source)}]);
                const worker = new Worker(URL.createObjectURL(source));
                worker.onmessage = (event) => resolve(event.data);
                worker.onerror = (event) => reject(new Error(event.message));
                worker.postMessage({json.dumps([_pool_module(isa), jobs])});
            }})"""
        )
        browser.close()
    if "error" in result:
        raise RuntimeError(result["error"])
    speeds: list[float] = result["speeds"]
    return speeds


if __name__ == "__main__":
    main()
