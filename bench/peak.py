"""The most multiply-adds a second that one core can do: the limit of prefill."""

from __future__ import annotations

import base64
import ctypes
import subprocess
import tempfile
import time
from pathlib import Path

from kernels_c import build
from oxillama_web.backends.kernels.library import load_library
from oxillama_web.gguf.reader import GGUFFile
from tools.chromium import FLAGS, find_chromium

SOURCE = Path(__file__).resolve().parent / "peak.c"
_FLAGS = ["-std=c11", f"-I{build.SOURCES}"]
ROUNDS = 1 << 19
REPEATS = 8

_PAGE = """
const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const { instance } = await WebAssembly.instantiate(bytes);
const { memory, peak_products, peak_run } = instance.exports;
memory.grow(1);
const address = memory.buffer.byteLength - 64;
let best = Infinity;
for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    peak_run(address, rounds);
    best = Math.min(best, performance.now() - start);
}
return 1000 * peak_products() * rounds / best;
"""


def native_peak() -> float:
    """Multiply-adds a second, with the instruction set that the engine chooses here."""
    flags = build.NATIVE_ISAS[build.machine()][load_library().variant]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peak.so"
        command = [*build.find_compiler(), *_FLAGS, "-fPIC", "-shared", *flags, str(SOURCE)]
        subprocess.run([*command, "-o", str(path)], check=True)
        library = ctypes.CDLL(str(path))
    library.peak_run.restype = ctypes.c_float
    memory = ctypes.create_string_buffer(64)
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        library.peak_run(memory, ROUNDS)
        best = min(best, time.perf_counter() - start)
    return float(library.peak_products() * ROUNDS / best)


def browser_peak() -> float:
    """Multiply-adds a second in Chromium, with the relaxed dot product."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "peak.wasm"
        object_file = Path(folder) / "peak.o"
        flags = ["--target=wasm32-freestanding", "-ffreestanding", *build.WASM_ISAS["relaxed"]]
        compiler = [*build.zig("cc"), *_FLAGS, "-O3", *flags]
        subprocess.run([*compiler, "-c", str(SOURCE), "-o", str(object_file)], check=True)
        linker = [*build.zig("wasm-ld"), "--no-entry", "--export-dynamic"]
        subprocess.run([*linker, str(object_file), "-o", str(target)], check=True)
        module = base64.b64encode(target.read_bytes()).decode()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        peak: float = browser.new_page().evaluate(
            f"async ([base64, rounds, repeats]) => {{{_PAGE}}}", [module, ROUNDS, REPEATS]
        )
        browser.close()
    return peak


def products_of_a_token(model: Path) -> int:
    """Multiply-adds that each prompt token needs: one for each weight of the blocks' matrices.

    Attention's are left out, and the output head's, which only the last token needs.
    """
    tensors = GGUFFile(model.read_bytes()).tensors.values()
    blocks = [tensor for tensor in tensors if tensor.name.startswith("blk.")]
    return sum(tensor.shape[0] * tensor.shape[1] for tensor in blocks if len(tensor.shape) == 2)
