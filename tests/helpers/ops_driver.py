"""Plans of a few operations, written by hand, for tests of the kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from linear_driver import EVERY_PASS, Block, operation_row

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.kernels.kv_layout import tile_bytes
from oxillama_web.plan.plan import Operation

F32, F16, Q8_0 = 0, 1, 8


class KernelPlan:
    """Tables of a model in exactly as much memory as they say, so that a sanitizer sees a misstep.

    Buffers, tensors, constants, layers and operations are numbered in the order of the calls.
    """

    def __init__(self, page_tokens: int = 64, kv_format: int = F32) -> None:
        self.page_tokens, self.kv_format = page_tokens, kv_format
        self.tensors: list[abi.Tensor] = []
        self.constants: list[abi.Tensor] = []
        self.buffers: list[abi.Buffer] = []
        self.ops: list[abi.Op] = []
        self.operations: list[type[Operation]] = []
        self.layers: list[abi.KVLayer] = []
        self.states: list[abi.State] = []
        self.page_bytes = self.state_bytes = 0
        self.pages: list[Block] = []
        self.state_memory: Block | None = None
        self._memory: list[Block] = []

    def vector(self, values: np.ndarray | Sequence[float]) -> int:
        """A float32 tensor of one dimension."""
        self.tensors.append(self._vector(values))
        return len(self.tensors) - 1

    def matrix(self, values: np.ndarray) -> int:
        """A float32 tensor of two dimensions, whose values are no factors of a product."""
        struct = self._vector(values.reshape(-1))
        struct.n_out, struct.n_in = values.shape
        self.tensors.append(struct)
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray | Sequence[float]) -> int:
        """A vector that belongs to the plan."""
        self.constants.append(self._vector(values))
        return len(self.constants) - 1

    def tensor(self, struct: abi.Tensor) -> int:
        """A tensor whose memory someone else keeps."""
        self.tensors.append(struct)
        return len(self.tensors) - 1

    def matrix_struct(self, values: np.ndarray) -> abi.Tensor:
        """A float32 tensor of rows."""
        flat = self._vector(values.reshape(-1))
        return abi.Tensor(flat.data, flat.bytes, F32, 0, values.shape[1], len(values))

    def buffer(self, capacity: int, width: int, rows: str = "batch") -> int:
        """An activation [capacity, width]."""
        memory = self._keep(Block(4 * capacity * width))
        kind = {"batch": 0, "output": 1}[rows]
        self.buffers.append(abi.Buffer(memory.address, capacity, width, kind, 0))
        return len(self.buffers) - 1

    def filled(self, values: np.ndarray, rows: str = "batch") -> int:
        """A buffer with content."""
        index = self.buffer(*values.shape, rows)
        self.write(index, values)
        return index

    def write(self, index: int, values: np.ndarray) -> None:
        data = np.ascontiguousarray(values, np.float32)
        ctypes.memmove(self.buffers[index].data, data.tobytes(), data.nbytes)

    def read(self, index: int, n_rows: int | None = None) -> np.ndarray:
        buffer = self.buffers[index]
        n_rows = buffer.capacity if n_rows is None else n_rows
        raw = ctypes.string_at(buffer.data, 4 * n_rows * buffer.width)
        return np.frombuffer(raw, np.float32).reshape(n_rows, buffer.width)

    def layer(self, n_heads: int, k_dim: int, v_dim: int) -> int:
        """A layer of the cache; call before any page exists."""
        layer = abi.KVLayer(n_heads=n_heads, k_dim=k_dim, v_dim=v_dim)
        kind = {F32: "f32", F16: "f16", Q8_0: "q8_0"}[self.kv_format]
        n_tiles = n_heads * self.page_tokens // 64
        layer.k_offset = self.page_bytes
        layer.v_offset = _align(layer.k_offset + n_tiles * tile_bytes(kind, k_dim))
        self.page_bytes = _align(layer.v_offset + n_tiles * tile_bytes(kind, v_dim))
        self.layers.append(layer)
        return len(self.layers) - 1

    def state(self, rows: int, width: int) -> int:
        """A recurrent state, zero at first; call before any batch."""
        self.states.append(abi.State(self.state_bytes, rows, width))
        self.state_bytes += _align(4 * rows * width)
        return len(self.states) - 1

    def op(
        self,
        operation: type[Operation],
        *,
        dst: int = -1,
        barrier: int = EVERY_PASS,
        **operands: float,
    ) -> None:
        """An operation whose operands are numbers: see `operation_row`."""
        self.operations.append(operation)
        self.ops.append(operation_row(operation, dst, barrier, **operands))

    def model(self) -> abi.Model:
        """The tables as they are now; this object must outlive it."""
        self._tables = [
            (type(rows[0]) * len(rows))(*rows) if rows else None
            for rows in (
                *(self.tensors, self.constants, self.buffers, self.ops, self.layers, self.states),
            )
        ]
        *addresses, states_at = [ctypes.addressof(table) if table else 0 for table in self._tables]
        counts = [len(table) if table else 0 for table in self._tables[:-1]]
        return abi.Model(
            *(*addresses, *counts, self.page_tokens, self.kv_format, len(self.states)),
            *(self.page_bytes, states_at, self.state_bytes),
        )

    def batch(
        self,
        n_tokens: int,
        position: int = 0,
        outputs: Sequence[int] = (),
        tokens: Sequence[int] | None = None,
    ) -> abi.Batch:
        """Tokens position .. position + n_tokens - 1, with the pages that they need."""
        while self.layers and len(self.pages) * self.page_tokens < position + n_tokens:
            self.pages.append(Block(self.page_bytes))
        self._token_table = (ctypes.c_int32 * n_tokens)(*(tokens or [0] * n_tokens))
        self._output_table = (ctypes.c_uint32 * max(len(outputs), 1))(*outputs)
        self._page_table = (ctypes.c_uint64 * max(len(self.pages), 1))(
            *(page.address for page in self.pages)
        )
        if self.states and self.state_memory is None:
            self.state_memory = self._keep(Block(self.state_bytes))
        states_at = self.state_memory.address if self.state_memory else 0
        self._sequence_table = (abi.Sequence * 1)(
            abi.Sequence(
                *(ctypes.addressof(self._page_table), len(self.pages), position, 0, n_tokens),
                states_at,
            )
        )
        return abi.Batch(
            ctypes.addressof(self._token_table),
            ctypes.addressof(self._output_table),
            ctypes.addressof(self._sequence_table),
            n_tokens,
            len(outputs),
            1,
        )

    def check(self, library: ctypes.CDLL) -> int:
        """ox_check_model."""
        return int(library.ox_check_model(ctypes.byref(self.model())))

    def run(
        self,
        library: ctypes.CDLL,
        n_tokens: int,
        position: int = 0,
        outputs: Sequence[int] = (),
        pool: Pool | None = None,
        tokens: Sequence[int] | None = None,
        missing_scratch: int = 0,
    ) -> int:
        """ox_forward, or ox_pool_forward; returns the status."""
        model = self.model()
        batch = self.batch(n_tokens, position, outputs, tokens)
        n_threads = pool.n_threads if pool else 1
        n_bytes = library.ox_scratch_bytes(ctypes.byref(model), n_tokens, n_threads)
        scratch = Block(n_bytes or 64)
        arguments = [
            *[ctypes.byref(model), ctypes.byref(batch), ctypes.c_void_p(scratch.address)],
            ctypes.c_uint64(n_bytes - missing_scratch),
        ]
        if pool:
            return int(library.ox_pool_forward(pool.address, *arguments))
        return int(library.ox_forward(*arguments))

    def _vector(self, values: np.ndarray | Sequence[float]) -> abi.Tensor:
        data = np.asarray(values, np.float32)
        memory = self._keep(Block(data.nbytes, data.tobytes()))
        return abi.Tensor(memory.address, data.nbytes, F32, 0, data.size, 1)

    def _keep(self, memory: Block) -> Block:
        self._memory.append(memory)
        return memory


class Pool:
    """Threads of a library; a context manager."""

    def __init__(self, library: ctypes.CDLL, n_threads: int) -> None:
        self.n_threads = n_threads
        self._library = library
        library.ox_pool_create.restype = ctypes.c_void_p
        self.address = ctypes.c_void_p(library.ox_pool_create(n_threads))
        assert self.address

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.ox_pool_destroy(self.address)


def _align(n_bytes: int) -> int:
    return -(-n_bytes // 64) * 64
