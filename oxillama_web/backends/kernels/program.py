"""A plan in kernel memory: the tables of kernels_c/ox.h and the buffers that they name."""

from __future__ import annotations

import ctypes
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ...errors import InvalidRequestError, KernelError, ThreadsLostError
from . import abi
from .kv_layout import PAGE_TOKENS
from .lowering import lower
from .memory import align

if TYPE_CHECKING:
    from collections.abc import Collection

    from ...plan.plan import Plan
    from .device import Block, Device
    from .kv_layout import CacheLayout
    from .weights import Weights


class Program:
    """See above. What it allocates lives as long as it does.

    Args:
        weights: the plan's.
        cache: the layout of the caches that it will run on.
        starts: operations that begin a part of the plan which may run by itself.
    """

    def __init__(
        self,
        device: Device,
        plan: Plan,
        weights: Weights,
        cache: CacheLayout,
        starts: Collection[int] = (),
    ) -> None:
        self._device = device
        self._plan = plan
        self._lowered = lowered = lower(plan, device.n_threads, starts)
        self._buffer_memory = self._scratch = device.allocate(0)
        self._capacities = {"batch": 0, "output": 0, "head": 0}
        self._fitted = (0, 0, False)
        self._buffers = (abi.Buffer * len(plan.buffers))()
        self._buffer_table = self._place(self._buffers)
        self._op_table, self._layer_table = self._place(lowered.rows), self._place(cache.layers)
        self._state_table = self._place(cache.states)
        self._constants = [self._place(array("f", values)) for values in lowered.constants]
        constants = [
            abi.Tensor(data=block.address, bytes=block.n_bytes, n_in=block.n_bytes // 4, n_out=1)
            for block in self._constants
        ]
        self._constant_table = self._place((abi.Tensor * len(constants))(*constants))
        model = abi.Model(
            tensors=weights.address,
            constants=self._constant_table.address,
            buffers=self._buffer_table.address,
            ops=self._op_table.address,
            kv_layers=self._layer_table.address,
            n_tensors=len(weights),
            n_constants=len(constants),
            n_buffers=len(self._buffers),
            n_ops=len(lowered.steps),
            n_kv_layers=len(plan.kv_layers),
            page_tokens=PAGE_TOKENS,
            kv_format=cache.format,
            page_bytes=cache.page_bytes,
            states=self._state_table.address,
            n_states=len(cache.states),
            state_bytes=cache.recurrent.n_bytes,
        )
        self._model = self._place(model)
        # the same up to the output head; buffers are numbered in the order of their first use
        self._buffer_numbers = {name: number for number, name in enumerate(plan.buffers)}
        body = {op.writes for op in plan.ops[: plan.n_hidden_ops]}
        model.n_ops = lowered.first_rows[plan.n_hidden_ops]
        model.n_buffers = 1 + max(self._buffer_numbers.get(name, 0) for name in body)
        self._n_body_buffers = model.n_buffers
        self._hidden_model = self._place(model)
        self.fit(1, 1, with_head=True)
        self._check(device.functions.ox_check_model(self._model.address))

    @property
    def work_bytes(self) -> int:
        """Bytes of buffers and scratch."""
        return self._buffer_memory.n_bytes + self._scratch.n_bytes

    def tokens(self, ids: array[int]) -> array[int]:
        """What stands for a batch's tokens in the embedding's table."""
        return ids

    def run(self, batch: int, *, with_head: bool) -> None:
        """A forward pass.

        Args:
            batch: address of an ox_batch that `fit` has made room for.
            with_head: False stops before the output head.
        """
        model = self._model if with_head else self._hidden_model
        self._check(self._device.forward(model.address, batch, self._scratch))

    def result(self, n_rows: int, *, with_head: bool) -> memoryview[float]:
        """The first rows of the logits, or of the hidden states."""
        name = self._plan.output if with_head else self._plan.hidden
        buffer = self._buffers[self._buffer_numbers[name]]
        start = buffer.data - self._buffer_memory.address
        return self._buffer_memory.floats(start, buffer.width * n_rows)

    def fit(self, n_tokens: int, n_outputs: int, *, with_head: bool) -> None:
        """Makes room for a batch; memory that is large enough stays."""
        sizes = (n_tokens, n_outputs, with_head)
        if sizes != self._fitted:
            self._make_room(*sizes)
            self._fitted = sizes

    def close(self) -> None:
        """Frees the buffers."""
        self._buffer_memory = self._scratch = self._device.allocate(0)

    def _make_room(self, n_tokens: int, n_outputs: int, with_head: bool) -> None:
        """See `fit`.

        Buffers of the output head have a capacity of their own: logits of many tokens are large.
        Those that threads compute by themselves in a pass of one token have a row for each.
        """
        buffers = self._plan.buffers
        n_head = n_tokens if buffers[self._plan.output].rows == "batch" else n_outputs
        needed = {"batch": n_tokens, "output": n_outputs, "head": n_head if with_head else 0}
        if all(n <= self._capacities[kind] for kind, n in needed.items()):
            return
        rows = {kind: max(n, self._capacities[kind]) for kind, n in needed.items()}
        n_threads = self._device.n_threads
        capacities = [
            max(
                rows["head" if number >= self._n_body_buffers else buffer.rows],
                n_threads if name in self._lowered.replicated else 0,
            )
            for number, (name, buffer) in enumerate(buffers.items())
        ]
        n_bytes: dict[str, int] = {}
        for (name, buffer), capacity in zip(buffers.items(), capacities, strict=True):
            memory, size = self._plan.memory(name), align(4 * buffer.width * capacity)
            n_bytes[memory] = max(size, n_bytes.get(memory, 0))
        *starts, total = accumulate(n_bytes.values(), initial=0)
        offsets = dict(zip(n_bytes, starts, strict=True))
        self._buffer_memory = self._device.allocate(total)
        for table_row, (name, buffer), capacity in zip(
            self._buffers, buffers.items(), capacities, strict=True
        ):
            table_row.data = self._buffer_memory.address + offsets[self._plan.memory(name)]
            table_row.capacity = capacity
            table_row.width = buffer.width
            table_row.rows = 0 if buffer.rows == "batch" else 1
            table_row.replicated = int(name in self._lowered.replicated)
        self._buffer_table.write(0, self._buffers)
        self._scratch = self._device.allocate(
            self._device.functions.ox_scratch_bytes(self._model.address, rows["batch"], n_threads)
        )
        self._capacities = rows

    def _place(self, table: bytes | ctypes.Structure | ctypes.Array[Any] | array[float]) -> Block:
        block = self._device.allocate(memoryview(table).nbytes)
        block.write(0, table)
        return block

    def _check(self, status: int, first_row: int = 0) -> None:
        if status == 0:
            return
        code, row = status & 0xFF, first_row + (status >> 8)
        if code == abi.STATUS_BAD_TOKEN:
            raise InvalidRequestError("a token is outside of the model's vocabulary")
        if code == abi.STATUS_POISONED_POOL:
            raise ThreadsLostError(
                "a thread that ran the model has ended or hangs; load the model again"
            )
        steps = self._lowered.steps
        op = steps[row].operation if row < len(steps) else None
        raise KernelError(f"{abi.STATUS_TEXT.get(code, f'status {code}')} (operation {op})")
