"""Where kernels run: a memory that they address, and their functions and threads.

`LocalDevice` is this process: Python's own memory, and a library that ctypes has opened. A page's
workers are another one (wasm.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ...errors import KernelError
from ..forking import renew_after_fork
from .memory import Memory

if TYPE_CHECKING:
    from .library import Library


class Block(Protocol):
    """Memory of a device, 64-byte aligned, freed when nothing refers to it any more."""

    @property
    def address(self) -> int:
        """The address of the first byte."""

    @property
    def n_bytes(self) -> int:
        """How many bytes were asked for."""

    def write(self, offset: int, data: Any) -> None:
        """Copy the bytes of a buffer, such as an array or a ctypes struct, into the block."""

    def copy(self, source: Any) -> None:
        """Copy the content of another block of the device, of the same size, into the block."""

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return a copy of a part."""

    def floats(self, offset: int, count: int) -> memoryview[float]:
        """Return float32 values, writable: the memory itself, or a copy until the next call."""


class Device(Protocol):
    """A memory, and kernels that run on it.

    Attributes:
        name: what runs the kernels, such as "kernels-avx512".
        functions: ox_format_supported, ox_pack, ox_pack_scratch_bytes, ox_check_model,
            ox_scratch_bytes and ox_kv_shift, which take addresses as int.
        n_threads: how many threads `forward` uses.
    """

    name: str
    functions: Any
    n_threads: int

    def allocate(self, n_bytes: int) -> Block:
        """Return a zeroed block. Raises OutOfMemoryError."""

    def forward(self, model: int, batch: int, scratch: Block) -> int:
        """Run ox_forward on all threads; return its status. Raises KernelError after `close`."""

    def close(self) -> None:
        """End the threads."""


class LocalDevice:
    """This process; see `Device`."""

    def __init__(self, library: Library, n_threads: int) -> None:
        self.name = f"kernels-{library.variant}"
        self.functions = library.functions
        self.n_threads = n_threads if hasattr(self.functions, "ox_pool_create") else 1
        self._pool = self._create_pool()
        self._lacks_pool = False
        renew_after_fork(self)

    def renew_after_fork(self) -> None:
        """See `forking`: the next forward pass starts threads of this process."""
        # the memory of the parent's pool is not freed: its threads are not here to be joined
        self._pool, self._lacks_pool = None, self._pool is not None

    def allocate(self, n_bytes: int) -> Memory:
        """See `Device.allocate`."""
        return Memory(n_bytes)

    def forward(self, model: int, batch: int, scratch: Block) -> int:
        """See `Device.forward`."""
        if self.n_threads == 0:
            raise KernelError("the model was closed")
        if self._lacks_pool:
            self._pool, self._lacks_pool = self._create_pool(), False
        arguments = (model, batch, scratch.address, scratch.n_bytes)
        if self._pool:
            return int(self.functions.ox_pool_forward(self._pool, *arguments))
        return int(self.functions.ox_forward(*arguments))

    def close(self) -> None:
        """See `Device.close`."""
        if self._pool:
            self.functions.ox_pool_destroy(self._pool)
            self._pool = None
        # a call after this one is refused instead of reading freed memory
        self.n_threads = 0

    def __del__(self) -> None:
        if getattr(self, "_pool", None):
            self.close()

    def _create_pool(self) -> int | None:
        if self.n_threads == 1:
            return None
        pool: int | None = self.functions.ox_pool_create(self.n_threads)
        if pool is None:
            raise KernelError(f"cannot start {self.n_threads} threads; lower num_threads")
        return pool
