"""Finds and opens the kernel library for this processor or browser."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import KernelError
from .abi import ABI_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

# Pyodide opens every .so of a wheel as soon as it is installed, and would fail on relaxed SIMD
# where the browser has none; it leaves .wasm alone.
SUFFIXES = {"win32": ".dll", "darwin": ".dylib", "emscripten": ".wasm"}
KERNELS_FOLDER = Path(__file__).parent.parent / "kernels"

# (module (func (param v128 v128 v128) (result v128)
#   (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 0) (local.get 1) (local.get 2))))
RELAXED_SIMD_PROBE = bytes.fromhex(
    "0061736d01000000" "01080160037b7b7b017b" "03020100" "0a0d010b00200020012002fd93020b"
)  # fmt: skip

_AVX2, _AVX512, _ARM_DOT = 1, 2, 4
_Q4_0 = 2


class Library:
    """An opened kernel library; its functions are attributes of `functions`."""

    def __init__(self, variant: str, functions: ctypes.CDLL) -> None:
        self.variant = variant
        self.functions = functions


def load_library(variant: str | None = None) -> Library:
    """Opens the best library for this machine.

    Args:
        variant: "portable", "avx2", "avx512", "neon", "simd128" or "relaxed"; None takes
            $OXILLAMA_KERNELS, or what the processor or the WebAssembly engine can run.

    Raises:
        KernelError: the library is missing, cannot be opened, or is of another version.
    """
    variant = variant or os.environ.get("OXILLAMA_KERNELS") or _best_variant()
    functions = _open(variant)
    _declare(functions)
    if variant == "relaxed" and not functions.ox_format_supported(_Q4_0):
        # the engine knows relaxed SIMD, but on this processor its dot product gives other numbers
        return load_library("simd128")
    return Library(variant, functions)


def _best_variant() -> str:
    if sys.platform == "emscripten":
        return "relaxed" if _engine_has_relaxed_simd() else "simd128"
    features = _open("portable").ox_cpu_features()
    if features & _AVX512:
        return "avx512"
    if features & _AVX2:
        return "avx2"
    if features & _ARM_DOT:
        return "neon"
    return "portable"


def _engine_has_relaxed_simd() -> bool:
    import js

    probe = js.Uint8Array.new(len(RELAXED_SIMD_PROBE))
    probe.assign(RELAXED_SIMD_PROBE)
    return bool(js.WebAssembly.validate(probe))


def _open(variant: str) -> ctypes.CDLL:
    suffix = SUFFIXES.get(sys.platform, ".so")
    path = KERNELS_FOLDER / f"libox-{variant}{suffix}"
    if not path.is_file():
        raise KernelError(
            f"there is no kernel library {path.name} for {platform.machine() or sys.platform} in "
            f"{path.parent}; build it (make kernels) or choose executor='numpy'"
        )
    try:
        functions = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(f"cannot open the kernel library {path}: {error}") from error
    # before anything else of it is looked for, which it may not have
    check_version(f"the kernel library {path}", getattr(functions, "ox_abi_version", None))
    return functions


def check_version(kernels: str, version_of: Callable[[], int] | None) -> None:
    """Raises KernelError where `kernels` are of another version than this package.

    Args:
        kernels: what they are called in the error.
        version_of: their ox_abi_version; None where they have none.
    """
    found = None if version_of is None else int(version_of())
    if found != ABI_VERSION:
        raise KernelError(
            f"{kernels} has interface version {found}, and this package needs {ABI_VERSION}; "
            f"build the kernels again (make kernels; for browsers ./build_wasm.sh)"
        )


def _declare(functions: ctypes.CDLL) -> None:
    # ctypes passes plain integers as 32-bit ints unless it is told otherwise
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
    functions.ox_checksum.argtypes = [address, u64]
    functions.ox_checksum.restype = u64
    if hasattr(functions, "ox_pool_create"):
        functions.ox_pool_create.argtypes = [u32]
        functions.ox_pool_create.restype = address
        functions.ox_pool_forward.argtypes = [address, address, address, address, u64]
        functions.ox_pool_destroy.argtypes = [address]
        functions.ox_pool_destroy.restype = None
