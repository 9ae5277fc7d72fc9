"""Keys and values of the NumPy backend, in float32."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequestError
from ...plan.kv_shift import key_rotations, turned_back

if TYPE_CHECKING:
    from ...plan.kv_shift import KeyRotation
    from ...plan.operations.rope import RopeStyle
    from ...plan.plan import Plan

Array = NDArray[np.float32]


class NumpyKVCache:
    """Float32 keys and values, [position, head, dim] a layer, in arrays that double when full.

    See `KeysAndValues`.
    """

    def __init__(self, plan: Plan) -> None:
        layers = plan.kv_layers
        self.length = 0
        self._plan = plan
        self._keys = [np.empty((0, layer.n_heads, layer.k_dim), np.float32) for layer in layers]
        self._values = [np.empty((0, layer.n_heads, layer.v_dim), np.float32) for layer in layers]

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""
        self.length = length

    def fork(self, length: int) -> NumpyKVCache:
        """See `KeysAndValues.fork`: copies everything."""
        other = NumpyKVCache(self._plan)
        other.length = length
        other._keys = [keys[:length].copy() for keys in self._keys]
        other._values = [values[:length].copy() for values in self._values]
        return other

    @property
    def can_shift(self) -> bool:
        """See `KeysAndValues.can_shift`."""
        return key_rotations(self._plan) is not None

    def shift(self, start: int, count: int) -> None:
        """See `KeysAndValues.shift`."""
        moved, to = slice(start + count, self.length), slice(start, self.length - count)
        rotations = key_rotations(self._plan) or ()
        for keys, values, rotation in zip(self._keys, self._values, rotations, strict=True):
            keys[to] = _rotated_back(keys[moved], rotation, count)
            values[to] = values[moved].copy()
        self.length -= count

    @property
    def layout(self) -> str:
        """See `KeysAndValues.layout`."""
        return "float32 layers " + ",".join(
            f"{keys.shape[1]}x{keys.shape[2]}x{values.shape[2]}"
            for keys, values in zip(self._keys, self._values, strict=True)
        )

    def export(self) -> bytes:
        """See `KeysAndValues.export`: the keys of all layers, then the values."""
        arrays = (*self._keys, *self._values)
        return b"".join(array[: self.length].tobytes() for array in arrays)

    def restore(self, data: bytes, length: int) -> None:
        """See `KeysAndValues.restore`."""
        shapes = [(length, *array.shape[1:]) for array in (*self._keys, *self._values)]
        ends = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
        if len(data) != 4 * ends[-1]:
            raise InvalidRequestError(f"{len(data)} bytes are no cache of {length} tokens")
        parts = np.split(np.frombuffer(data, np.float32), ends[1:-1]) if shapes else []
        arrays = [part.reshape(shape).copy() for part, shape in zip(parts, shapes, strict=True)]
        self._keys, self._values = arrays[: len(self._keys)], arrays[len(self._keys) :]
        self.length = length

    def store(self, layer: int, keys: Array, values: Array) -> None:
        """Writes a batch's keys and values behind what the cache holds."""
        for arrays, new in ((self._keys, keys), (self._values, values)):
            old = arrays[layer]
            needed = self.length + len(new)
            if needed > len(old):
                grown = np.empty((max(needed, 2 * len(old)), *old.shape[1:]), np.float32)
                grown[: self.length] = old[: self.length]
                arrays[layer] = grown
            arrays[layer][self.length : needed] = new.reshape(len(new), *old.shape[1:])

    def read(self, layer: int, n_new: int) -> tuple[Array, Array]:
        """Keys and values of all positions, the batch's own included: [position, head, dim]."""
        end = self.length + n_new
        return self._keys[layer][:end], self._values[layer][:end]


def rotated(heads: Array, table: Array, style: RopeStyle) -> Array:
    """Heads, float32 [rows, heads, dim], rotated by the angles of table [rows, 2 * pairs]."""
    half = table.shape[1] // 2
    cos, sin = table[:, None, :half], table[:, None, half:]
    if style == "interleaved":
        first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    else:
        first, second = slice(0, half), slice(half, 2 * half)
    heads = heads.copy()
    a, b = heads[..., first].copy(), heads[..., second].copy()
    heads[..., first] = a * cos - b * sin
    heads[..., second] = a * sin + b * cos
    return heads


def _rotated_back(keys: Array, rotation: KeyRotation, n: int) -> Array:
    table = np.array([turned_back(rotation.frequencies, n)], np.float32)
    return rotated(keys, table, rotation.style)
