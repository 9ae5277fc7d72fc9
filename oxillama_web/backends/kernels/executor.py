"""Runs a plan in C: one call for a whole forward pass.

At load the plan becomes the tables of kernels_c/ox.h in the memory of a device (device.py).
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ...errors import InvalidRequestError, KernelError
from ..api import check_batch, check_slide
from . import abi
from .memory import ALIGNMENT
from .program import PAGE_TOKENS, CacheLayout, Program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...config import EngineConfig
    from ...plan.kv_shift import KeyRotation
    from ...plan.lora import LoraAdapter
    from ...plan.operations import Plan
    from ..api import Batch, KVCache, Outputs
    from .device import Block, Device
    from .weights import Weights


class KernelExecutor:
    """See `Executor`. Not thread-safe: one forward pass at a time.

    Args:
        weights: in the device's memory; they may still arrive, until the first forward pass.
        program: what runs the plan.
    """

    def __init__(
        self,
        plan: Plan,
        config: EngineConfig,
        device: Device,
        weights: Weights,
        program: Callable[..., Program] = Program,
    ) -> None:
        self.name = device.name
        self._device = device
        # the model's own, and those of the plan that runs: adapters' too
        self._model_weights: Weights | None = weights
        self._weights: Weights | None = weights
        # an encoder's cache is work memory of one pass
        kv_cache_type = "f32" if plan.is_encoder else config.kv_cache_type
        self._cache_layout = CacheLayout(plan, kv_cache_type)
        self._caches: WeakSet[PagedKVCache] = WeakSet()
        self._arguments = _Arguments(device)
        self._program = program(device, plan, weights, self._cache_layout)
        self._plan = plan

    def use_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> None:
        """See `Executor.use_plan`."""
        if self._model_weights is None:
            raise KernelError("the model was closed")
        weights = self._model_weights.for_plan(plan, adapters)
        self._program = Program(self._device, plan, weights, self._cache_layout)
        self._weights, self._plan = weights, plan

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights, buffers, scratch and caches."""
        weights = self._weights.held_bytes if self._weights else 0
        pages = {page.address for cache in self._caches for page in cache.pages}
        n_cached = len(pages) * self._cache_layout.page_bytes
        return weights + self._program.work_bytes + n_cached

    def new_cache(self) -> PagedKVCache:
        """An empty cache."""
        return PagedKVCache(self)

    def cache_bytes(self, n_tokens: int) -> int:
        """See `Executor.cache_bytes`."""
        return -(-n_tokens // PAGE_TOKENS) * self._cache_layout.page_bytes

    def forward(self, cache: KVCache, tokens: Sequence[int], outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward`."""
        return self.forward_batch([(cache, tokens)], outputs)

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward_batch`."""
        return self._run_batch(batch, outputs, with_head=True)

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.hidden_states`."""
        return self._run_batch(batch, outputs, with_head=False)

    def _run_batch(self, batch: Batch, outputs: Outputs, *, with_head: bool) -> memoryview[float]:
        check_batch(batch)
        ids, last_rows, pages = array("i"), array("I"), array("Q")
        sequences = (abi.Sequence * len(batch))()
        for row, (cache, tokens) in zip(sequences, batch, strict=True):
            assert isinstance(cache, PagedKVCache)
            cache.reserve(cache.length + len(tokens))
            row.pages = 8 * len(pages)  # from the start of the table of all pages, for now
            row.n_pages = len(cache.pages)
            row.position = cache.length
            row.first_token = len(ids)
            row.n_tokens = len(tokens)
            pages.extend(page.address for page in cache.pages)
            ids.extend(tokens)
            last_rows.append(len(ids) - 1)
        rows = last_rows if outputs == "last" else array("I", range(len(ids)))
        program = self._program
        program.fit(len(ids), len(rows), with_head=with_head)
        ids = program.tokens(ids)
        header = abi.Batch(n_tokens=len(ids), n_outputs=len(rows), n_sequences=len(sequences))
        arguments = self._arguments
        addresses = arguments.place(header, sequences, pages, ids, rows)
        header_place, header.sequences, page_table, header.tokens, header.outputs = addresses
        for row in sequences:
            row.pages += page_table
        arguments.write()
        program.run(header_place, with_head=with_head)
        for cache, tokens in batch:
            assert isinstance(cache, PagedKVCache)
            cache.length += len(tokens)
        return program.result(len(rows), with_head=with_head)

    def _shift(self, cache: PagedKVCache, start: int, count: int) -> None:
        """Moves the positions behind those that are forgotten; see `KVCache.slide`."""
        from ...plan.kv_shift import key_rotations, turned_back

        tables = array("f")
        places: dict[KeyRotation, int] = {}
        rows = (abi.KeyRotation * len(self._plan.kv_layers))()
        for row, rotation in zip(rows, key_rotations(self._plan) or (), strict=True):
            if rotation not in places:
                places[rotation] = 4 * len(tables)
                # float32, as those that the keys were turned by
                tables.extend(turned_back(array("f", rotation.frequencies), count))
            row.table = places[rotation]  # from the start of the tables, for now
            row.n_pairs = len(rotation.frequencies)
            row.style = int(rotation.style == "neox")
        pages = array("Q", (page.address for page in cache.pages))
        key = array("f", [0.0]) * max(layer.k_dim for layer in self._plan.kv_layers)
        moved = start + count
        sequence = abi.Sequence(0, len(pages), moved, 0, cache.length - moved)
        addresses = self._arguments.place(sequence, rows, pages, tables, key)
        sequence_place, row_place, sequence.pages, first_table, key_place = addresses
        for row in rows:
            row.table += first_table
        self._arguments.write()
        self._program.shift(sequence_place, count, row_place, key_place, len(key))

    def close(self) -> None:
        """Ends the threads and frees the weights."""
        self._program.close()
        self._device.close()
        self._model_weights = self._weights = None


class PagedKVCache:
    """Keys and values in pages of 256 positions (CacheLayout), allocated as they fill.

    Forks share their whole pages, which nobody writes: a cache copies a shared page first. A page
    is freed with the last cache that refers to it.
    """

    def __init__(self, executor: KernelExecutor) -> None:
        self.length = 0
        self.pages: list[Block] = []
        # so many pages, from the first, may belong to other caches too
        self._n_shared = 0
        self._executor = executor
        executor._caches.add(self)

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on and frees the pages behind it."""
        if not 0 <= length <= self.length:
            raise InvalidRequestError(f"cannot cut a cache of {self.length} tokens to {length}")
        self.length = length
        del self.pages[-(-length // PAGE_TOKENS) :]
        self._n_shared = min(self._n_shared, len(self.pages))

    def reserve(self, length: int) -> None:
        """Makes room for `length` positions, of which those behind the cache's own are written."""
        self._own_pages(self.length // PAGE_TOKENS)
        while len(self.pages) < -(-length // PAGE_TOKENS):
            self.pages.append(self._executor._device.allocate(self._page_bytes))

    @property
    def can_slide(self) -> bool:
        """See `KVCache.can_slide`."""
        from ...plan.kv_shift import key_rotations

        return key_rotations(self._executor._plan) is not None

    def slide(self, start: int, count: int) -> None:
        """See `KVCache.slide`."""
        check_slide(self, start, count)
        self._own_pages(start // PAGE_TOKENS)
        self._executor._shift(self, start, count)
        self.truncate(self.length - count)

    def fork(self, length: int) -> PagedKVCache:
        """See `KVCache.fork`: shares whole pages, and copies the last one."""
        if not 0 <= length <= self.length:
            raise InvalidRequestError(f"a cache of {self.length} tokens has no first {length}")
        n_whole, rest = divmod(length, PAGE_TOKENS)
        other = PagedKVCache(self._executor)
        other.length = length
        other.pages = self.pages[:n_whole]
        if rest:
            other.pages.append(self._copy(self.pages[n_whole]))
        other._n_shared = n_whole
        self._n_shared = max(self._n_shared, n_whole)
        return other

    @property
    def layout(self) -> str:
        """See `KVCache.layout`."""
        layout = self._executor._cache_layout
        sizes = ",".join(f"{row.n_heads}x{row.k_dim}x{row.v_dim}" for row in layout.layers)
        return f"pages {PAGE_TOKENS} format {layout.format} layers {sizes}"

    def export(self) -> bytes:
        """See `KVCache.export`: the pages, one after the other."""
        n_pages = -(-self.length // PAGE_TOKENS)
        return b"".join(page.read(0, self._page_bytes) for page in self.pages[:n_pages])

    def restore(self, data: bytes, length: int) -> None:
        """See `KVCache.restore`."""
        n_pages, size = -(-length // PAGE_TOKENS), self._page_bytes
        if len(data) != n_pages * size:
            raise InvalidRequestError(f"{len(data)} bytes are no cache of {length} tokens")
        pages = [self._executor._device.allocate(size) for _ in range(n_pages)]
        for index, page in enumerate(pages):
            page.write(0, memoryview(data)[index * size : (index + 1) * size])
        self.pages, self.length, self._n_shared = pages, length, 0

    @property
    def _page_bytes(self) -> int:
        return self._executor._cache_layout.page_bytes

    def _own_pages(self, first: int) -> None:
        """Copies shared pages from that one on: they will be written."""
        for index in range(first, self._n_shared):
            self.pages[index] = self._copy(self.pages[index])
        self._n_shared = min(self._n_shared, first)

    def _copy(self, page: Block) -> Block:
        copy = self._executor._device.allocate(self._page_bytes)
        copy.write(0, page.read(0, self._page_bytes))
        return copy


class _Arguments:
    """Memory for what one call is given, used again by the next.

    Tables hold each other's addresses: they get their places, are completed, and then written.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._block = device.allocate(0)
        self._tables: tuple[array[Any] | ctypes.Array[Any] | ctypes.Structure, ...] = ()
        self._offsets: list[int] = []

    def place(self, *tables: array[Any] | ctypes.Array[Any] | ctypes.Structure) -> list[int]:
        """The addresses where `write` will put copies of the tables, valid until the next call."""
        offsets, end = [], 0
        for table in tables:
            offsets.append(end)
            end += -(-memoryview(table).nbytes // ALIGNMENT) * ALIGNMENT
        if end > self._block.n_bytes:
            self._block = self._device.allocate(end)
        self._tables, self._offsets = tables, offsets
        return [self._block.address + offset for offset in offsets]

    def write(self) -> None:
        """Writes the tables as they are now."""
        data = bytearray()
        for table, offset in zip(self._tables, self._offsets, strict=True):
            data += bytes(offset - len(data))
            data += memoryview(table).cast("B")
        self._block.write(0, data)
        self._tables = ()
