"""Weights as float32 arrays: all of them at once, or as many as a budget allows."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...gguf.dequantize import dequantize

if TYPE_CHECKING:
    from ...gguf.reader import GGUFFile, TensorInfo
    from ..kernels.paging import LayerPager

Array = NDArray[np.float32]


class PagedArrays:
    """Dequantizes a weight when it is asked for, and forgets the one that was used longest ago."""

    def __init__(
        self, weights: Mapping[str, TensorInfo], gguf: GGUFFile, pager: LayerPager
    ) -> None:
        self._weights = weights
        self._gguf = gguf
        self._pager = pager
        self._arrays: OrderedDict[str, Array] = OrderedDict()

    def __getitem__(self, name: str) -> Array:
        if name not in self._arrays:
            array = dequantized(self._gguf.data_of(self._weights[name]), self._weights[name])
            budget = self._pager.policy.ram_bytes
            while self._arrays and self._pager.resident_bytes + array.nbytes > budget:
                _, dropped = self._arrays.popitem(last=False)
                self._pager.took(-dropped.nbytes)
            self._arrays[name] = array
            self._pager.took(array.nbytes)
        self._arrays.move_to_end(name)
        return self._arrays[name]

    def rows(self, name: str, rows: NDArray[np.int64]) -> Array:
        """Some rows of a matrix, without the others."""
        info = self._weights[name]
        row_bytes = info.nbytes // info.shape[-1]
        one = info._replace(shape=(info.shape[0], 1), nbytes=row_bytes)
        return np.concatenate(
            [
                dequantized(
                    self._gguf.data_of(one._replace(offset=info.offset + int(row) * row_bytes)), one
                )
                for row in rows
            ]
        )


def dequantized(data: memoryview, info: TensorInfo) -> Array:
    """A tensor's values, its fastest dimension last."""
    values = dequantize(data, info.format, math.prod(info.shape))
    return values.reshape(info.shape[::-1])
