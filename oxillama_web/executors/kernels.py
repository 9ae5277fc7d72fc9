"""Runs a plan in C: one call for a whole forward pass.

At load the plan becomes the tables of kernels_c/ox.h, and weights are interleaved for the vector
units: in place where the file's buffer was handed over, else in a copy.
"""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidRequestError, KernelError, UnsupportedModelError
from ..quants import FORMATS
from . import abi
from .base import check_batch
from .lowering import lower_ops
from .memory import ALIGNMENT, Memory, address_of, is_writable

if TYPE_CHECKING:
    from ..config import EngineConfig
    from ..gguf import GGUFFile
    from ..plan import Plan
    from .base import Batch, KVCache, Outputs
    from .library import Library

PAGE_TOKENS = 256
_KV_FORMATS = {"f32": (0, 4), "f16": (1, 2)}


class KernelExecutor:
    """See `Executor`. Not thread-safe: one forward pass at a time."""

    def __init__(
        self, plan: Plan, gguf: GGUFFile, config: EngineConfig, library: Library, *, consume: bool
    ) -> None:
        self.name = f"kernels-{library.variant}"
        self._functions = library.functions
        self._plan = plan
        self._kv_format, value_bytes = _KV_FORMATS[config.kv_cache_type]
        self._kv_layers, self._page_bytes = _lay_out_page(plan, value_bytes)
        self._cached_bytes = 0
        self._buffer_memory = self._scratch = Memory(0)
        self._buffer_rows = (0, 0)

        lowered = lower_ops(plan)
        weights = _load_weights(plan, gguf, library, consume=consume)
        self._weight_bytes = weights.n_bytes
        # these arrays are what the model's addresses point to: they live as long as the executor
        constants = [Memory.of_floats(values) for values in lowered.constants]
        tensors = (abi.Tensor * (len(weights.tensors) + len(constants)))(
            *weights.tensors, *(_constant_tensor(memory) for memory in constants)
        )
        self._buffers = (abi.Buffer * len(plan.buffers))()
        ops = (abi.Op * len(lowered.ops))(*lowered.ops)
        self._model = abi.Model(
            tensors=ctypes.addressof(tensors),
            buffers=ctypes.addressof(self._buffers),
            ops=ctypes.addressof(ops),
            kv_layers=ctypes.addressof(self._kv_layers),
            n_tensors=len(tensors),
            n_buffers=len(self._buffers),
            n_ops=len(ops),
            n_kv_layers=len(plan.kv_layers),
            page_tokens=PAGE_TOKENS,
            kv_format=self._kv_format,
            page_bytes=self._page_bytes,
        )
        self._kept_alive: tuple[object, ...] = (weights, constants, tensors, ops)
        self._output_buffer = list(plan.buffers).index(plan.output)
        self._n_threads = config.num_threads if hasattr(self._functions, "ox_pool_create") else 1
        self._pool = self._create_pool()
        self._fit_buffers(1, 1)
        self._check(self._functions.ox_check_model(ctypes.addressof(self._model)))

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights, buffers, scratch and caches."""
        work = self._buffer_memory.n_bytes + self._scratch.n_bytes
        return self._weight_bytes + work + self._cached_bytes

    def new_cache(self) -> PagedKVCache:
        """An empty cache."""
        return PagedKVCache(self)

    def forward(self, cache: KVCache, tokens: Sequence[int], outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward`."""
        return self.forward_batch([(cache, tokens)], outputs)

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward_batch`."""
        check_batch(batch)
        ids, last_rows = array("i"), array("I")
        page_tables = []  # what the structs' addresses point to
        sequences = (abi.Sequence * len(batch))()
        for row, (cache, tokens) in zip(sequences, batch, strict=True):
            assert isinstance(cache, PagedKVCache)
            cache.reserve(cache.length + len(tokens))
            pages = array("Q", [page.address for page in cache.pages])
            page_tables.append(pages)
            row.pages, row.n_pages = pages.buffer_info()
            row.position = cache.length
            row.first_token = len(ids)
            row.n_tokens = len(tokens)
            ids.extend(tokens)
            last_rows.append(len(ids) - 1)
        rows = last_rows if outputs == "last" else array("I", range(len(ids)))
        self._fit_buffers(len(ids), len(rows))
        self._check(
            self._call_forward(
                abi.Batch(
                    tokens=ids.buffer_info()[0],
                    outputs=rows.buffer_info()[0],
                    sequences=ctypes.addressof(sequences),
                    n_tokens=len(ids),
                    n_outputs=len(rows),
                    n_sequences=len(sequences),
                )
            )
        )
        for cache, tokens in batch:
            assert isinstance(cache, PagedKVCache)
            cache.length += len(tokens)
        return self._logits(len(rows))

    def top_k(self, logits: memoryview[float], k: int) -> tuple[list[int], list[float]]:
        """See `Executor.top_k`."""
        k = min(k, len(logits))
        ids, values = (ctypes.c_uint32 * k)(), (ctypes.c_float * k)()
        self._functions.ox_top_k(
            address_of(logits), len(logits), k, ctypes.addressof(ids), ctypes.addressof(values)
        )
        return list(ids), list(values)

    def log_sum_exp(self, logits: memoryview[float], temperature: float) -> float:
        """See `Executor.log_sum_exp`."""
        return float(self._functions.ox_logsumexp(address_of(logits), len(logits), temperature))

    def sample(self, logits: memoryview[float], temperature: float, uniform: float) -> int:
        """See `Executor.sample`."""
        return int(self._functions.ox_sample(address_of(logits), len(logits), temperature, uniform))

    def close(self) -> None:
        """Ends the threads and frees the weights."""
        if self._pool:
            self._functions.ox_pool_destroy(self._pool)
            self._pool = None
        self._kept_alive = ()
        self._weight_bytes = 0
        self._buffer_memory = self._scratch = Memory(0)
        # a call after this one is refused instead of reading freed memory
        self._n_threads = 0

    def __del__(self) -> None:
        if getattr(self, "_pool", None):
            self.close()

    def _create_pool(self) -> int | None:
        if self._n_threads == 1:
            return None
        pool: int | None = self._functions.ox_pool_create(self._n_threads)
        if pool is None:
            raise KernelError(f"cannot start {self._n_threads} threads; lower num_threads")
        return pool

    def _call_forward(self, batch: abi.Batch) -> int:
        if self._n_threads == 0:
            raise KernelError("the model was closed")
        model, batch_address = ctypes.addressof(self._model), ctypes.addressof(batch)
        scratch, n_bytes = self._scratch.address, self._scratch.n_bytes
        if self._pool:
            status = self._functions.ox_pool_forward(
                self._pool, model, batch_address, scratch, n_bytes
            )
        else:
            status = self._functions.ox_forward(model, batch_address, scratch, n_bytes)
        return int(status)

    def _logits(self, n_rows: int) -> memoryview[float]:
        output = self._buffers[self._output_buffer]
        start = output.data - self._buffer_memory.address
        return self._buffer_memory.view[start : start + 4 * output.width * n_rows].cast("f")

    def _fit_buffers(self, n_tokens: int, n_outputs: int) -> None:
        """Makes room for a batch; memory that is large enough stays."""
        have_tokens, have_outputs = self._buffer_rows
        if n_tokens <= have_tokens and n_outputs <= have_outputs:
            return
        rows = {"batch": max(n_tokens, have_tokens), "output": max(n_outputs, have_outputs)}
        offsets, total = [], 0
        for buffer in self._plan.buffers.values():
            offsets.append(total)
            total += _align(4 * buffer.width * rows[buffer.rows])
        self._buffer_memory = Memory(total)
        for table_row, buffer, offset in zip(
            self._buffers, self._plan.buffers.values(), offsets, strict=True
        ):
            table_row.data = self._buffer_memory.address + offset
            table_row.capacity = rows[buffer.rows]
            table_row.width = buffer.width
            table_row.rows = 0 if buffer.rows == "batch" else 1
        self._scratch = Memory(
            self._functions.ox_scratch_bytes(
                ctypes.addressof(self._model), rows["batch"], self._n_threads
            )
        )
        self._buffer_rows = (rows["batch"], rows["output"])

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
        self.pages: list[Memory] = []
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
            self.pages.append(Memory(self._executor._page_bytes))
        self._executor._cached_bytes += (len(self.pages) - before) * self._executor._page_bytes


class _Weights:
    def __init__(self, tensors: list[abi.Tensor], owner: object, n_bytes: int) -> None:
        self.tensors = tensors
        self.owner = owner  # keeps the memory alive that the tensors point to
        self.n_bytes = n_bytes


def _load_weights(plan: Plan, gguf: GGUFFile, library: Library, *, consume: bool) -> _Weights:
    infos = [gguf.tensors[name] for name in plan.weights]
    for info in infos:
        if len(info.shape) > 1 and not library.functions.ox_format_supported(info.format):
            known = FORMATS.get(info.format)
            raise UnsupportedModelError(
                f"tensor {info.name!r} has format {known.name if known else info.format}, for "
                f"which there is no kernel yet; executor='numpy' reads it"
            )
    n_bytes = sum(info.nbytes for info in infos)
    owner: object
    if consume and is_writable(gguf.buffer):
        owner = gguf.buffer
        start = address_of(gguf.buffer)
        addresses = [start + info.offset for info in infos]
    else:
        arena = Memory(sum(_align(info.nbytes) for info in infos))
        owner, addresses, position = arena, [], 0
        for info in infos:
            arena.view[position : position + info.nbytes] = gguf.tensor_data(info.name)
            addresses.append(arena.address + position)
            position += _align(info.nbytes)
    tensors = [
        abi.Tensor(
            data=address,
            bytes=info.nbytes,
            format=info.format,
            n_in=info.shape[0],
            n_out=math.prod(info.shape[1:]),
        )
        for info, address in zip(infos, addresses, strict=True)
    ]
    _pack(tensors, library)
    return _Weights(tensors, owner, n_bytes)


def _pack(tensors: list[abi.Tensor], library: Library) -> None:
    functions = library.functions
    needed = max(functions.ox_pack_scratch_bytes(ctypes.addressof(t)) for t in tensors)
    scratch = Memory(needed)
    for tensor in tensors:
        if tensor.n_out < abi.PANEL_ROWS:
            continue
        status = functions.ox_pack(
            ctypes.addressof(tensor),
            0,
            tensor.n_out // abi.PANEL_ROWS,
            scratch.address,
            scratch.n_bytes,
        )
        if status:
            raise KernelError(f"packing a tensor failed: {abi.STATUS_TEXT.get(status, status)}")
        tensor.packed = 1


def _constant_tensor(memory: Memory) -> abi.Tensor:
    return abi.Tensor(data=memory.address, bytes=memory.n_bytes, n_in=memory.n_bytes // 4, n_out=1)


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
