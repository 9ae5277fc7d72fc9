"""Kernels in a page: on the threads of a pool, over a memory of their own that is not Python's.

`pool` is the JavaScript object KernelPool of web/kernels/pool.js. A call into JavaScript costs a
microsecond or two, so a token makes only a handful of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import OutOfMemoryError
from .abi import STATUS_POISONED_POOL
from .library import check_version

if TYPE_CHECKING:
    from .device import Block


class WasmBlock:
    """See `Block`. Its bytes can be copied in and out, but Python cannot address them."""

    def __init__(self, pool: Any, n_bytes: int) -> None:
        self.address: int = pool.allocate(n_bytes)
        if self.address == 0:
            raise OutOfMemoryError(
                f"this tab has no {n_bytes / 1e6:.0f} MB of memory left beside the model; use a "
                f"smaller contextSize or a smaller model, or close other tabs"
            )
        self.n_bytes = n_bytes
        self._pool = pool
        self._copy = bytearray()

    def write(self, offset: int, data: Any) -> None:
        """See `Block.write`."""
        source = memoryview(data).cast("B")
        if len(source):
            self._pool.view(self.address + offset, len(source)).assign(source)

    def copy(self, source: WasmBlock) -> None:
        """See `Block.copy`: within the pool's memory."""
        view = self._pool.view(self.address, self.n_bytes)
        view.set(self._pool.view(source.address, self.n_bytes))

    def read(self, offset: int, n_bytes: int) -> bytes:
        """See `Block.read`."""
        return bytes(self._pool.view(self.address + offset, n_bytes).to_bytes())

    def floats(self, offset: int, count: int) -> memoryview[float]:
        """See `Block.floats`: a copy, in memory that the next call reuses."""
        n_bytes = 4 * count
        if len(self._copy) != n_bytes:
            self._copy = bytearray(n_bytes)
        self._pool.view(self.address + offset, n_bytes).assign_to(self._copy)
        return memoryview(self._copy).cast("f")

    def __del__(self) -> None:
        if hasattr(self, "_pool"):
            self._pool.free(self.address)


class WasmDevice:
    """A page's pool of workers; see `Device`.

    Raises:
        KernelError: the pool's kernels are of another version.
    """

    def __init__(self, pool: Any) -> None:
        check_version(f"the page's kernel pool {pool.variant!r}", pool.functions.ox_abi_version)
        self.name = f"pool-{pool.variant}"
        self.functions = pool.functions
        self.n_threads = int(pool.threads)
        self._pool = pool
        self._forward = pool.forward

    def allocate(self, n_bytes: int) -> WasmBlock:
        """See `Device.allocate`."""
        return WasmBlock(self._pool, n_bytes)

    def forward(self, model: int, batch: int, scratch: Block) -> int:
        """See `Device.forward`."""
        status = self._forward(model, batch, scratch.address, scratch.n_bytes)
        return STATUS_POISONED_POOL if status is None else int(status)

    def close(self) -> None:
        """End the threads and free all of the memory."""
        self._pool.close()
