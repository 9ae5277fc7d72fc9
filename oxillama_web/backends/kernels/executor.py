"""Runs a plan in C: one call for a whole forward pass.

At load the plan becomes the tables of kernels_c/ox.h in the memory of a device (device.py).
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...errors import KernelError
from ..api import check_batch
from ..cache import SequenceCache
from ..recurrent import StateMemory
from . import abi
from .arguments import Arguments
from .kv_cache import CachePages, PagedKVCache
from .kv_layout import PAGE_TOKENS, CacheLayout
from .kv_shift import KVShift
from .program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...config import KVCacheType
    from ...plan.lora import LoraAdapter
    from ...plan.plan import Plan
    from ..api import Batch, Outputs
    from ..offload import LayerPager
    from .device import Device
    from .weights import Weights


class KernelExecutor:
    """See `Executor`. Not thread-safe: one forward pass at a time.

    Args:
        weights: in the device's memory; they may still arrive, until the first forward pass.
        program: the class that runs the plan.
    """

    def __init__(
        self,
        plan: Plan,
        kv_cache_type: KVCacheType,
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
        layout = CacheLayout(plan, "f32" if plan.is_encoder else kv_cache_type)
        self._pages = CachePages(device, layout)
        self._states = StateMemory(layout.recurrent, device.allocate)
        self._shift = KVShift(device, plan, layout)
        self._arguments = Arguments(device)
        self._new_program = program
        self._program = program(device, plan, weights, layout)

    def receive(self, n_received: int) -> int | None:
        """See `Executor.receive`."""
        return self._own_weights.pack(n_received)

    def use_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> None:
        """See `Executor.use_plan`."""
        weights = self._own_weights.for_plan(plan, adapters)
        self._program = self._new_program(self._device, plan, weights, self._pages.layout)
        self._weights = weights

    def use_pager(self, plan: Plan, pager: LayerPager) -> None:
        """See `Executor.use_pager`."""
        weights = self._own_weights.with_pager(plan, pager)
        program = self._new_program(self._device, plan, weights, self._pages.layout)
        self._program.close()
        self._program = program
        self._model_weights = self._weights = weights

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights, buffers, scratch and caches."""
        weights = self._weights  # another thread may close the executor now
        caches = self._pages.held_bytes + self._states.held_bytes
        return (weights.held_bytes if weights else 0) + self._program.work_bytes + caches

    def new_cache(self) -> SequenceCache:
        """Return an empty cache."""
        return SequenceCache(PagedKVCache(self._pages, self._shift), self._states.new_states())

    def cache_bytes(self, n_tokens: int) -> int:
        """See `Executor.cache_bytes`."""
        layout = self._pages.layout
        return -(-n_tokens // PAGE_TOKENS) * layout.page_bytes + layout.recurrent.n_bytes

    def forward(
        self, cache: SequenceCache, tokens: Sequence[int], outputs: Outputs
    ) -> memoryview[float]:
        """See `Executor.forward`."""
        return self.forward_batch([(cache, tokens)], outputs)

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward_batch`."""
        return self._run(batch, outputs, with_head=True)

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.hidden_states`."""
        return self._run(batch, outputs, with_head=False)

    def _run(self, batch: Batch, outputs: Outputs, *, with_head: bool) -> memoryview[float]:
        check_batch(batch)
        ids, rows, pages = array("i"), array("I"), array("Q")
        for cache, tokens in batch:
            keys = _pages_of(cache)
            keys.reserve(cache.length + len(tokens))
            pages.extend(page.address for page in keys.pages)
            start, end = len(ids), len(ids) + len(tokens)
            ids.extend(tokens)
            if outputs == "all":
                rows.extend(range(start, end))
            else:
                rows.append(start if outputs == "first" else end - 1)
        self._program.fit(len(ids), len(rows), with_head=with_head)
        ids = self._program.tokens(ids)
        header, sequences = abi.Batch(), (abi.Sequence * len(batch))()
        batch_at, header.sequences, pages_at, header.tokens, header.outputs = (
            self._arguments.reserve(
                ctypes.sizeof(header),
                ctypes.sizeof(sequences),
                8 * len(pages),
                4 * len(ids),
                4 * len(rows),
            )
        )
        header.n_tokens, header.n_outputs, header.n_sequences = len(ids), len(rows), len(batch)
        first_token = 0
        for row, (cache, tokens) in zip(sequences, batch, strict=True):
            n_pages = len(_pages_of(cache).pages)
            row.pages, row.n_pages = pages_at, n_pages
            row.position, row.first_token, row.n_tokens = cache.length, first_token, len(tokens)
            if cache.states is not None:
                row.states = cache.states.block.address
            pages_at += 8 * n_pages
            first_token += len(tokens)
        self._arguments.write(header, sequences, pages, ids, rows)
        for cache, _ in batch:
            cache.begin_pass()
        self._program.run(batch_at, with_head=with_head)
        for cache, tokens in batch:
            cache.end_pass(len(tokens))
        return self._program.result(len(rows), with_head=with_head)

    @property
    def _own_weights(self) -> Weights:
        if self._model_weights is None:
            raise KernelError("the model was closed")
        return self._model_weights

    def close(self) -> None:
        """End the threads and free the weights."""
        self._program.close()
        self._device.close()
        self._model_weights = self._weights = None


def _pages_of(cache: SequenceCache) -> PagedKVCache:
    assert isinstance(cache.keys, PagedKVCache)
    return cache.keys
