"""Runs a plan in C: one call for a whole forward pass.

At load the plan becomes the tables of kernels_c/ox.h in the memory of a host (host.py).
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequestError, KernelError
from ..plan import op_writes
from . import abi
from .base import check_batch
from .memory import ALIGNMENT, address_of

if TYPE_CHECKING:
    from ..config import EngineConfig
    from ..plan import Plan
    from .base import Batch, KVCache, Outputs
    from .host import Block, KernelHost
    from .lowering import LoweredOps
    from .weights import Weights

PAGE_TOKENS = 256
_KV_FORMATS = {"f32": (0, 4), "f16": (1, 2)}


class KernelExecutor:
    """See `Executor`. Not thread-safe: one forward pass at a time.

    Args:
        lowered: the plan's operations, whose constants stand behind the weights.
        weights: in the host's memory; they may still arrive, until the first forward pass.
    """

    def __init__(
        self,
        plan: Plan,
        lowered: LoweredOps,
        config: EngineConfig,
        host: KernelHost,
        weights: Weights,
    ) -> None:
        self.name = host.name
        self._host = host
        self._plan = plan
        self._weights: Weights | None = weights
        kv_format, value_bytes = _KV_FORMATS[config.kv_cache_type]
        kv_layers, self._page_bytes = _lay_out_page(plan, value_bytes)
        self._cached_bytes = 0
        self._buffer_memory = self._scratch = host.allocate(0)
        self._capacities = {"batch": 0, "output": 0, "head": 0}
        self._buffers = (abi.Buffer * len(plan.buffers))()
        ops = (abi.Op * len(lowered.ops))(*lowered.ops)
        self._buffer_table = self._place(self._buffers)
        # these are what the model's addresses point to: they live as long as the executor
        self._op_table, self._layer_table = self._place(ops), self._place(kv_layers)
        model = abi.Model(
            tensors=weights.address,
            buffers=self._buffer_table.address,
            ops=self._op_table.address,
            kv_layers=self._layer_table.address,
            n_tensors=len(weights),
            n_buffers=len(self._buffers),
            n_ops=len(ops),
            n_kv_layers=len(plan.kv_layers),
            page_tokens=PAGE_TOKENS,
            kv_format=kv_format,
            page_bytes=self._page_bytes,
        )
        self._model = self._place(model)
        # the same up to the output head; buffers are numbered in the order of their first use
        self._buffer_numbers = {name: number for number, name in enumerate(plan.buffers)}
        body = {op_writes(op) for op in plan.ops[: plan.n_hidden_ops]}
        model.n_ops = plan.n_hidden_ops
        model.n_buffers = 1 + max(self._buffer_numbers.get(name, 0) for name in body)
        self._n_body_buffers = model.n_buffers
        self._hidden_model = self._place(model)
        self._batch = host.allocate(ctypes.sizeof(abi.Batch))
        self._batch_arrays, self._batch_sequences = _Arguments(host), _Arguments(host)
        self._fit_buffers(1, 1, with_head=True)
        self._check(host.functions.ox_check_model(self._model.address))

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights, buffers, scratch and caches."""
        weights = self._weights.n_bytes if self._weights else 0
        work = self._buffer_memory.n_bytes + self._scratch.n_bytes
        return weights + work + self._cached_bytes

    def new_cache(self) -> PagedKVCache:
        """An empty cache."""
        return PagedKVCache(self)

    def forward(self, cache: KVCache, tokens: Sequence[int], outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward`."""
        return self.forward_batch([(cache, tokens)], outputs)

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward_batch`."""
        return self._run_batch(batch, outputs, self._model, self._plan.output)

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.hidden_states`."""
        return self._run_batch(batch, outputs, self._hidden_model, self._plan.hidden)

    def _run_batch(
        self, batch: Batch, outputs: Outputs, model: Block, result: str
    ) -> memoryview[float]:
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
        self._fit_buffers(len(ids), len(rows), with_head=model is self._model)
        page_table, id_table, row_table = self._batch_arrays.place(pages, ids, rows)
        for row in sequences:
            row.pages += page_table
        (sequence_table,) = self._batch_sequences.place(sequences)
        self._batch.write(
            0,
            abi.Batch(
                tokens=id_table,
                outputs=row_table,
                sequences=sequence_table,
                n_tokens=len(ids),
                n_outputs=len(rows),
                n_sequences=len(sequences),
            ),
        )
        self._check(self._host.forward(model.address, self._batch.address, self._scratch))
        for cache, tokens in batch:
            assert isinstance(cache, PagedKVCache)
            cache.length += len(tokens)
        return self._result(result, len(rows))

    def top_k(self, logits: memoryview[float], k: int) -> tuple[list[int], list[float]]:
        """See `Executor.top_k`."""
        k = min(k, len(logits))
        ids, values = (ctypes.c_uint32 * k)(), (ctypes.c_float * k)()
        self._host.library.functions.ox_top_k(
            address_of(logits), len(logits), k, ctypes.addressof(ids), ctypes.addressof(values)
        )
        return list(ids), list(values)

    def log_sum_exp(self, logits: memoryview[float], temperature: float) -> float:
        """See `Executor.log_sum_exp`."""
        functions = self._host.library.functions
        return float(functions.ox_logsumexp(address_of(logits), len(logits), temperature))

    def sample(self, logits: memoryview[float], temperature: float, uniform: float) -> int:
        """See `Executor.sample`."""
        functions = self._host.library.functions
        return int(functions.ox_sample(address_of(logits), len(logits), temperature, uniform))

    def close(self) -> None:
        """Ends the threads and frees the weights."""
        self._host.close()
        self._weights = None
        self._buffer_memory = self._scratch = self._host.allocate(0)

    def _place(self, table: ctypes.Structure | ctypes.Array[Any]) -> Block:
        block = self._host.allocate(ctypes.sizeof(table))
        block.write(0, table)
        return block

    def _result(self, buffer: str, n_rows: int) -> memoryview[float]:
        output = self._buffers[self._buffer_numbers[buffer]]
        start = output.data - self._buffer_memory.address
        return self._buffer_memory.floats(start, output.width * n_rows)

    def _fit_buffers(self, n_tokens: int, n_outputs: int, *, with_head: bool) -> None:
        """Makes room for a batch; memory that is large enough stays.

        Buffers of the output head have a capacity of their own: logits of many tokens are large.
        """
        buffers = self._plan.buffers
        n_head = n_tokens if buffers[self._plan.output].rows == "batch" else n_outputs
        needed = {"batch": n_tokens, "output": n_outputs, "head": n_head if with_head else 0}
        if all(n <= self._capacities[kind] for kind, n in needed.items()):
            return
        rows = {kind: max(n, self._capacities[kind]) for kind, n in needed.items()}
        capacities = [
            rows["head" if number >= self._n_body_buffers else buffer.rows]
            for number, buffer in enumerate(buffers.values())
        ]
        offsets, total = [], 0
        for buffer, capacity in zip(buffers.values(), capacities, strict=True):
            offsets.append(total)
            total += _align(4 * buffer.width * capacity)
        self._buffer_memory = self._host.allocate(total)
        for table_row, buffer, capacity, offset in zip(
            self._buffers, buffers.values(), capacities, offsets, strict=True
        ):
            table_row.data = self._buffer_memory.address + offset
            table_row.capacity = capacity
            table_row.width = buffer.width
            table_row.rows = 0 if buffer.rows == "batch" else 1
        self._buffer_table.write(0, self._buffers)
        n_threads = self._host.n_threads
        self._scratch = self._host.allocate(
            self._host.functions.ox_scratch_bytes(self._model.address, rows["batch"], n_threads)
        )
        self._capacities = rows

    def _check(self, status: int) -> None:
        if status == 0:
            return
        code, op_index = status & 0xFF, status >> 8
        if code == abi.STATUS_BAD_TOKEN:
            raise InvalidRequestError("a token is outside of the model's vocabulary")
        op = self._plan.ops[op_index] if op_index < len(self._plan.ops) else None
        raise KernelError(f"{abi.STATUS_TEXT.get(code, f'status {code}')} (operation {op})")


class PagedKVCache:
    """Keys and values in pages of 256 positions, all layers in each page, allocated as they fill.

    A page holds, layer by layer, keys then values; one head's positions lie side by side, which is
    the order that attention reads them in (struct ox_kv_layer in kernels_c/ox.h).
    """

    def __init__(self, executor: KernelExecutor) -> None:
        self.length = 0
        self.pages: list[Block] = []
        self._executor = executor

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on and frees the pages behind it."""
        if not 0 <= length <= self.length:
            raise InvalidRequestError(f"cannot cut a cache of {self.length} tokens to {length}")
        self.length = length
        self._resize(-(-length // PAGE_TOKENS))

    def reserve(self, length: int) -> None:
        """Makes room for `length` positions."""
        self._resize(max(-(-length // PAGE_TOKENS), len(self.pages)))

    def _resize(self, n_pages: int) -> None:
        before = len(self.pages)
        del self.pages[n_pages:]
        while len(self.pages) < n_pages:
            self.pages.append(self._executor._host.allocate(self._executor._page_bytes))
        self._executor._cached_bytes += (len(self.pages) - before) * self._executor._page_bytes


class _Arguments:
    """Memory for what one call is given, used again by the next."""

    def __init__(self, host: KernelHost) -> None:
        self._host = host
        self._block = host.allocate(0)

    def place(self, *tables: array[int] | ctypes.Array[Any]) -> list[int]:
        """Addresses of copies of the tables, valid until the next call."""
        offsets, data = [], bytearray()
        for table in tables:
            offsets.append(len(data))
            data += memoryview(table).cast("B")
            data += bytes(-len(data) % ALIGNMENT)
        if len(data) > self._block.n_bytes:
            self._block = self._host.allocate(len(data))
        self._block.write(0, data)
        return [self._block.address + offset for offset in offsets]


def _lay_out_page(plan: Plan, value_bytes: int) -> tuple[ctypes.Array[abi.KVLayer], int]:
    layers, offset = (abi.KVLayer * len(plan.kv_layers))(), 0
    for row, layer in zip(layers, plan.kv_layers, strict=True):
        row.n_heads, row.k_dim, row.v_dim = layer.n_heads, layer.k_dim, layer.v_dim
        row.k_offset = offset
        row.v_offset = row.k_offset + _align(
            layer.n_heads * PAGE_TOKENS * layer.k_dim * value_bytes
        )
        offset = row.v_offset + _align(layer.n_heads * PAGE_TOKENS * layer.v_dim * value_bytes)
    return layers, offset


def _align(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
