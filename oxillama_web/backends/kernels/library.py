"""Finds and opens the best kernel library for this processor or browser."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import KernelError
from ...gguf.types import GGMLType
from .abi import ABI_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

# Pyodide opens every .so of a wheel when it installs the wheel. This would fail for relaxed SIMD in
# a browser without it; files that are called .wasm are left alone.
SUFFIXES = {"win32": ".dll", "darwin": ".dylib", "emscripten": ".wasm"}
KERNELS_FOLDER = Path(__file__).parents[2] / "kernels"

# A module that computes one relaxed dot product. web/kernels/pool.js has it too, where no Python
# runs yet.
# (module (func (export "dot") (param i32 i32) (result i32)
#   (i32x4.extract_lane 0 (i32x4.relaxed_dot_i8x16_i7x16_add_s
#     (i8x16.splat (local.get 0)) (i8x16.splat (local.get 1)) (i32x4.splat (i32.const 0))))))
RELAXED_DOT = bytes.fromhex(
    "0061736d01000000" "01070160027f7f017f" "03020100" "070701" "03646f74" "0000"
    "0a16" "0114" "00" "2000fd0f" "2001fd0f" "4100fd11" "fd9302" "fd1b00" "0b"
)  # fmt: skip

_AVX2, _AVX512, _ARM_DOT = 1, 2, 4


class Library:
    """An opened kernel library.

    Attributes:
        variant: its name; see `load_library`.
        functions: has its functions as attributes.
    """

    def __init__(self, variant: str, functions: ctypes.CDLL) -> None:
        self.variant = variant
        self.functions = functions


def load_library(variant: str | None = None) -> Library:
    """Open a kernel library.

    Args:
        variant: "portable", "avx2", "avx512", "neon", "simd128", "relaxed" or "relaxed-pairs".
            None takes $OXILLAMA_KERNELS, or the best for this processor or browser.

    Raises:
        KernelError: the library is missing, cannot be opened, or is of another version.
    """
    variant = variant or os.environ.get("OXILLAMA_KERNELS") or _best_variant()
    functions = _open(variant)
    _declare(functions)
    if variant.startswith("relaxed") and not functions.ox_format_supported(GGMLType.Q4_0):
        # the browser's relaxed dot product is not the one that the kernels need
        return load_library("simd128")
    return Library(variant, functions)


def _best_variant() -> str:
    if sys.platform == "emscripten":
        return _best_wasm_variant()
    features = _open("portable").ox_cpu_features()
    if features & _AVX512:
        return "avx512"
    if features & _AVX2:
        return "avx2"
    if features & _ARM_DOT:
        return "neon"
    return "portable"


def _best_wasm_variant() -> str:
    """Return the best variant for this browser; as bestVariant in web/kernels/pool.js."""
    import js

    code = js.Uint8Array.new(len(RELAXED_DOT))
    code.assign(RELAXED_DOT)
    if not js.WebAssembly.validate(code):
        return "simd128"
    instance = js.WebAssembly.Instance.new(js.WebAssembly.Module.new(code))
    in_one = (4 * 127 * 255, -4 * 127)  # vpdpbusd, sdot
    return "relaxed" if instance.exports.dot(127, 255) in in_one else "relaxed-pairs"


def _open(variant: str) -> ctypes.CDLL:
    suffix = SUFFIXES.get(sys.platform, ".so")
    path = KERNELS_FOLDER / f"libox-{variant}{suffix}"
    if not path.is_file():
        raise KernelError(
            f"there is no kernel library {path.name} for {platform.machine() or sys.platform} in "
            f"{path.parent}; install a C compiler and then this package again (in its source "
            f"folder: make kernels), or choose executor='numpy'"
        )
    try:
        functions = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(f"cannot open the kernel library {path}: {error}") from error
    # now: an older library may lack other functions
    check_version(f"the kernel library {path}", getattr(functions, "ox_abi_version", None))
    return functions


def check_version(kernels: str, version_of: Callable[[], int] | None) -> None:
    """Raise KernelError if kernels have another version than this package.

    Args:
        kernels: what to call them in the error.
        version_of: their ox_abi_version; None if they have none.
    """
    found = None if version_of is None else int(version_of())
    if found != ABI_VERSION:
        raise KernelError(
            f"{kernels} has interface version {found}, and this package needs {ABI_VERSION}; "
            f"build the kernels again (make kernels; for browsers ./build_wasm.sh)"
        )


def _declare(functions: ctypes.CDLL) -> None:
    # without argtypes, ctypes passes integers as 32-bit ints
    u32, u64, address = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
    functions.ox_pack.argtypes = [address, u32, u32, address, u64]
    functions.ox_pack_scratch_bytes.argtypes = [address]
    functions.ox_pack_scratch_bytes.restype = u64
    functions.ox_format_supported.argtypes = [u32]
    functions.ox_check_model.argtypes = [address]
    functions.ox_scratch_bytes.argtypes = [address, u32, u32]
    functions.ox_scratch_bytes.restype = u64
    functions.ox_forward.argtypes = [address, address, address, u64]
    functions.ox_kv_shift.argtypes = [address, address, u32, address, address, u32]
    functions.ox_top_k.argtypes = [address, u32, u32, address, address]
    functions.ox_top_k.restype = u32
    functions.ox_top_p.argtypes = [address, u32, ctypes.c_float, ctypes.c_double, address, address]
    functions.ox_top_p.restype = u32
    functions.ox_logsumexp.argtypes = [address, u32, ctypes.c_float]
    functions.ox_logsumexp.restype = ctypes.c_float
    functions.ox_entropy.argtypes = [address, u32, ctypes.c_float]
    functions.ox_entropy.restype = ctypes.c_float
    functions.ox_sample.argtypes = [address, u32, ctypes.c_float, ctypes.c_double]
    functions.ox_sample.restype = u32
    matching: list[type[Any]] = [address, address, u32, address, u32]
    functions.ox_match_tokens.argtypes = [*matching, address, address, u32, address]
    functions.ox_match_tokens.restype = u32
    functions.ox_mask_logits.argtypes = [address, u32, address, u32]
    functions.ox_mask_logits.restype = None
    functions.ox_skip_strings.argtypes = [address, u64, u64, address]
    functions.ox_skip_strings.restype = u64
    functions.ox_join_strings.argtypes = [address, u64, u64, address]
    functions.ox_join_strings.restype = u64
    functions.ox_checksum.argtypes = [address, u64]
    functions.ox_checksum.restype = u64
    if hasattr(functions, "ox_pool_create"):
        functions.ox_pool_create.argtypes = [u32]
        functions.ox_pool_create.restype = address
        functions.ox_pool_forward.argtypes = [address, address, address, address, u64]
        functions.ox_pool_destroy.argtypes = [address]
        functions.ox_pool_destroy.restype = None
