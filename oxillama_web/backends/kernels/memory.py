"""Memory of this process that kernels address."""

from __future__ import annotations

import ctypes
import mmap
import sys
from array import array
from collections.abc import Sequence
from typing import Any

from ...errors import OutOfMemoryError

# Bytes. A cache line, and the widest vector.
ALIGNMENT = 64


class Memory:
    """A zeroed block of memory, 64-byte aligned, freed when nothing refers to it any more.

    Attributes:
        address: of the first byte.
        n_bytes: its size.
        view: its bytes.
    """

    def __init__(self, n_bytes: int) -> None:
        self._owner = _allocate(n_bytes + ALIGNMENT)
        start = address_of(self._owner)
        skip = -start % ALIGNMENT
        self.address = start + skip
        self.n_bytes = n_bytes
        self.view = memoryview(self._owner)[skip : skip + n_bytes]

    def write(self, offset: int, data: Any) -> None:
        """Copy the bytes of a buffer into the block."""
        source = memoryview(data).cast("B")
        self.view[offset : offset + len(source)] = source

    def copy(self, source: Memory) -> None:
        """Copy the content of another block of the same size."""
        self.view[:] = source.view

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return a copy of a part."""
        return bytes(self.view[offset : offset + n_bytes])

    def floats(self, offset: int, count: int) -> memoryview[float]:
        """Return float32 values: the memory itself."""
        return self.view[offset : offset + 4 * count].cast("f")

    @classmethod
    def of_floats(cls, values: Sequence[float]) -> Memory:
        """Return a block that holds float32 values."""
        memory = cls(4 * len(values))
        memory.view.cast("f")[:] = array("f", values)
        return memory


def address_of(buffer: bytearray | mmap.mmap | memoryview[Any]) -> int:
    """Return the address of a writable buffer's first byte. The caller keeps the buffer alive."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def is_writable(buffer: memoryview) -> bool:
    """Return whether `address_of` takes this buffer."""
    return not buffer.readonly and buffer.nbytes > 0


def align(n_bytes: int) -> int:
    """Round a size up to a multiple of `ALIGNMENT`."""
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


def _allocate(n_bytes: int) -> bytearray | mmap.mmap:
    try:
        if sys.platform == "emscripten":
            return bytearray(n_bytes)
        # an anonymous mapping takes memory only for the pages that are touched
        if sys.platform == "win32":
            return mmap.mmap(-1, n_bytes)
        # private: a child process does not write into its parent's caches
        return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (MemoryError, OSError, OverflowError, ValueError) as error:
        raise OutOfMemoryError(
            f"cannot get {n_bytes / 1e6:.0f} MB of memory; use a smaller model or a smaller "
            f"context_size, or close other programs or tabs"
        ) from error
