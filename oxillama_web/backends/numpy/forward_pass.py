"""A forward pass in NumPy: what operations compute with, and their functions by their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...plan.plan import Operation
from .kv_cache import NumpyKVCache
from .weights import PagedArrays

if TYPE_CHECKING:
    from ...plan.plan import Plan
    from ..api import Batch, Outputs

Array = NDArray[np.float32]

_Op = TypeVar("_Op", bound=Operation)
_Function = Callable[[_Op, "ForwardPass"], Array | None]


class ForwardPass:
    """What the operations of one pass compute with: buffers, weights and the batch.

    Attributes:
        plan: the plan that is executed.
        weights: float32, the fastest dimension of a tensor last.
        tokens: int64 [rows].
        positions: int64 [rows], of the tokens in their sequences.
        outputs: int64, the rows whose logits were asked for.
        sequences: each sequence's keys and values, and its rows in the batch.
    """

    def __init__(
        self, plan: Plan, weights: dict[str, Array] | PagedArrays, batch: Batch, outputs: Outputs
    ) -> None:
        self.plan = plan
        self.weights = weights
        self.sequences: list[tuple[NumpyKVCache, slice]] = []
        self._buffers: dict[str, Array] = {}
        ids: list[int] = []
        positions: list[int] = []
        self._states = [cache.states for cache, _ in batch]
        for cache, tokens in batch:
            assert isinstance(cache.keys, NumpyKVCache)
            self.sequences.append((cache.keys, slice(len(ids), len(ids) + len(tokens))))
            ids.extend(tokens)
            positions.extend(range(cache.length, cache.length + len(tokens)))
        self.tokens, self.positions = np.array(ids, np.int64), np.array(positions, np.int64)
        spans = [rows for _, rows in self.sequences]
        if outputs == "all":
            self.outputs = np.arange(len(ids))
        else:
            self.outputs = np.array([r.start if outputs == "first" else r.stop - 1 for r in spans])

    def __getitem__(self, buffer: str) -> Array:
        return self._buffers[buffer]

    def states(self, number: int) -> Iterator[tuple[Array, slice]]:
        """Yield each sequence's state of that number, to be changed in place, and its rows."""
        layer = self.plan.states[number]
        for states, (_, rows) in zip(self._states, self.sequences, strict=True):
            assert states is not None
            values = states.block.floats(states.layout.offsets[number], layer.rows * layer.width)
            yield np.asarray(values).reshape(layer.rows, layer.width), rows

    def execute(self, op: Operation) -> None:
        """Compute one operation."""
        result = _FUNCTIONS[type(op)](op, self)
        if result is not None:
            self._buffers[op.writes] = result


_FUNCTIONS: dict[type[Operation], _Function[Any]] = {}


def computes(kind: type[_Op]) -> Callable[[_Function[_Op]], _Function[_Op]]:
    """Register the function that computes what an operation writes to its buffer."""

    def register(function: _Function[_Op]) -> _Function[_Op]:
        _FUNCTIONS[kind] = function
        return function

    return register
