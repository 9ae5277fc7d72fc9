"""Weights as float32 arrays: all of them at once, or as many as a budget allows."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ...gguf.dequantize import dequantize
from ...plan.weight_chunks import tables

if TYPE_CHECKING:
    from ...gguf.reader import TensorInfo
    from ...gguf.source import ModelSource
    from ...plan.plan import Plan
    from ..offload import LayerPager

Array = NDArray[np.float32]


class PagedArrays:
    """Dequantizes a weight when it is used, and evicts the least recently used ones.

    Attributes:
        source: the model.
        pager: has the budget.
    """

    def __init__(
        self, weights: Mapping[str, TensorInfo], source: ModelSource, pager: LayerPager
    ) -> None:
        pager.reset()
        self.source = source
        self.pager = pager
        self._weights = weights
        self._arrays: OrderedDict[str, Array] = OrderedDict()

    def __getitem__(self, name: str) -> Array:
        if name not in self._arrays:
            array = dequantized(self.source, self._weights[name])
            budget = self.pager.policy.ram_bytes
            while self._arrays and self.pager.resident_bytes + array.nbytes > budget:
                _, evicted = self._arrays.popitem(last=False)
                self.pager.count(-evicted.nbytes)
            self._arrays[name] = array
            self.pager.count(array.nbytes)
        self._arrays.move_to_end(name)
        return self._arrays[name]

    def rows(self, name: str, rows: NDArray[np.int64]) -> Array:
        """Return some rows of a matrix, without reading the others."""
        return Table(self.source, self._weights[name])[rows]


class Table:
    """A matrix of which `table[rows]` reads and dequantizes those rows and no others."""

    nbytes = 0  # that it holds

    def __init__(self, source: ModelSource, info: TensorInfo) -> None:
        self._source = source
        self._info = info

    def __getitem__(self, rows: NDArray[np.int64]) -> Array:
        info = self._info
        row_bytes = info.nbytes // info.shape[-1]
        one = info._replace(shape=(info.shape[0], 1), nbytes=row_bytes)
        return np.concatenate(
            [
                dequantized(self._source, one._replace(offset=info.offset + int(row) * row_bytes))
                for row in rows
            ]
        )


def whole_arrays(plan: Plan, source: ModelSource) -> dict[str, Array]:
    """Return all weights of a plan; a table of which only rows are looked up stays where it is."""
    by_rows = tables(plan)
    return {
        # an embedding indexes it, as it would an array
        name: cast("Array", Table(source, info)) if name in by_rows else dequantized(source, info)
        for name, info in plan.weights.items()
    }


def dequantized(source: ModelSource, info: TensorInfo) -> Array:
    """Return a tensor's values, its fastest dimension last."""
    return dequantized_bytes(source.read(info.offset, info.nbytes), info)


def dequantized_bytes(data: memoryview, info: TensorInfo) -> Array:
    """Return the values of a tensor's bytes, its fastest dimension last."""
    values = dequantize(data, info.format, math.prod(info.shape))
    return values.reshape(info.shape[::-1])
