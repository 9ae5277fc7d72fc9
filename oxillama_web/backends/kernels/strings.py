"""Strings of a GGUF header, read by the kernels."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .library import Library


class KernelStrings:
    """Implements `StringKernels` of gguf/strings.py."""

    def __init__(self, library: Library) -> None:
        self._functions = library.functions

    def skip(self, data: bytes, count: int) -> tuple[int, int]:
        """See `StringKernels.skip`."""
        end = ctypes.c_uint64()
        n_strings = self._functions.ox_skip_strings(data, len(data), count, ctypes.byref(end))
        return n_strings, end.value

    def join(self, data: bytes, n_bytes: int, count: int) -> memoryview | None:
        """See `StringKernels.join`."""
        text = ctypes.create_string_buffer(n_bytes)
        n_text = self._functions.ox_join_strings(data, n_bytes, count, text)
        return memoryview(text)[: n_text - 1] if n_text else None
