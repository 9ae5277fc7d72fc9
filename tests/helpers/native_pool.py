"""Stands for the KernelPool of web/kernels/pool.js, with a native library and Python's memory."""

from __future__ import annotations

import ctypes
from typing import Any

from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.kernels.memory import Memory


class View:
    """What JavaScript's typed arrays can do from Python."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def assign(self, data: Any) -> None:
        self._view[:] = data

    def set(self, source: View) -> None:
        self._view[:] = source._view

    def assign_to(self, target: Any) -> None:
        memoryview(target).cast("B")[:] = self._view

    def to_bytes(self) -> bytes:
        return bytes(self._view)


class NativePool:
    """One thread; `capacity` bytes can be had at once."""

    def __init__(self, capacity: int = 1 << 26) -> None:
        library = load_library()
        self.variant = library.variant
        self.functions = library.functions
        self.threads = 1
        self.closed = False
        self.n_free = capacity
        self.status = 0  # what the next forward passes return, unless it is 0
        self._blocks: dict[int, Memory] = {}

    def allocate(self, n_bytes: int) -> int:
        if n_bytes > self.n_free:
            return 0
        block = Memory(n_bytes)
        self._blocks[block.address] = block
        self.n_free -= n_bytes
        return block.address

    def free(self, address: int) -> None:
        self.n_free += self._blocks.pop(address).n_bytes

    def view(self, address: int, n_bytes: int) -> View:
        home = next(
            b for b in self._blocks.values() if b.address <= address <= b.address + b.n_bytes
        )
        start = address - home.address
        assert start + n_bytes <= home.n_bytes
        return View(home.view[start : start + n_bytes])

    def forward(self, model: int, batch: int, scratch: int, scratch_bytes: int) -> int:
        if self.status:
            return self.status
        forward = self.functions.ox_forward
        return forward(
            *map(ctypes.c_void_p, (model, batch, scratch)), ctypes.c_uint64(scratch_bytes)
        )

    def close(self) -> None:
        self.closed = True


class Download:
    """A model file that arrives in a pool's memory."""

    def __init__(self, pool: NativePool, data: bytes) -> None:
        self.address = pool.allocate(len(data))
        self.n_total = len(data)
        self.n_received = 0
        self._pool = pool
        self._data = data

    def go_on(self, n_received: int) -> None:
        """Lets the file arrive up to there."""
        n_bytes = n_received - self.n_received
        view = self._pool.view(self.address + self.n_received, n_bytes)
        view.assign(self._data[self.n_received : n_received])
        self.n_received = n_received
