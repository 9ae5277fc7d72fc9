"""The reference: a plan walked operation by operation in NumPy, all in float32.

Slow, and as plain as can be: the kernels are compared with it, and it is compared with llama.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequestError
from ...plan.kv_shift import key_rotations, turned_back
from ...plan.operations import (
    GLU,
    Activate,
    Activation,
    Add,
    AddBias,
    Attention,
    Embed,
    ExpertLinear,
    ExpertSum,
    KVStore,
    LayerNorm,
    Linear,
    PositionEmbed,
    RMSNorm,
    Rope,
    RopeTable,
    Scale,
    SelectExperts,
    SelectRows,
    Softcap,
)
from ...plan.plan import Plan
from ..api import check_batch, check_shift
from ..offload import loaded_whole, no_adapters
from .experts import expert_linear, expert_sum, select_experts
from .weights import PagedArrays, dequantized, dequantized_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...gguf.source import ModelSource
    from ...plan.kv_shift import KeyRotation
    from ...plan.lora import LoraAdapter
    from ...plan.operations import RopeStyle
    from ..api import Batch, KVCache, Outputs
    from ..offload import LayerPager

Array = NDArray[np.float32]


class NumpyExecutor:
    """Dequantizes all weights to float32 at load, or with a pager as they are needed."""

    name = "numpy"

    def __init__(self, plan: Plan, source: ModelSource, pager: LayerPager | None = None) -> None:
        self._plan = plan
        self._weights: dict[str, Array] | PagedArrays
        if pager is not None:
            self._weights = PagedArrays(plan.weights, source, pager)
        else:
            self._weights = {name: dequantized(source, info) for name, info in plan.weights.items()}

    def use_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> None:
        """See `Executor.use_plan`."""
        if not isinstance(self._weights, dict):
            raise no_adapters()
        weights = {name: array for name, array in self._weights.items() if name in plan.weights}
        for name, adapter in adapters.items():
            info = plan.weights[name]
            weights[name] = dequantized_bytes(adapter.data(info), info)
        self._plan, self._weights = plan, weights

    def use_pager(self, plan: Plan, pager: LayerPager) -> None:
        """See `Executor.use_pager`."""
        if isinstance(self._weights, dict):
            raise loaded_whole()
        self._plan = plan
        self._weights = PagedArrays(plan.weights, self._weights.source, pager)

    def receive(self, n_received: int) -> int | None:
        """See `Executor.receive`: the whole model was here."""
        return None

    @property
    def memory_bytes(self) -> int:
        """Bytes of the dequantized weights."""
        if not isinstance(self._weights, dict):
            return self._weights.pager.resident_bytes
        return sum(weight.nbytes for weight in self._weights.values())

    def new_cache(self) -> NumpyKVCache:
        """An empty float32 cache."""
        return NumpyKVCache(self._plan)

    def cache_bytes(self, n_tokens: int) -> int:
        """See `Executor.cache_bytes`."""
        layers = self._plan.kv_layers
        return 4 * n_tokens * sum(layer.n_heads * (layer.k_dim + layer.v_dim) for layer in layers)

    def forward(self, cache: KVCache, tokens: Sequence[int], outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward`."""
        return self.forward_batch([(cache, tokens)], outputs)

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward_batch`."""
        return self._forward(batch, outputs, len(self._plan.ops), self._plan.output)

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.hidden_states`."""
        return self._forward(batch, outputs, self._plan.n_hidden_ops, self._plan.hidden)

    def _forward(
        self, batch: Batch, outputs: Outputs, n_ops: int, result: str
    ) -> memoryview[float]:
        check_batch(batch)
        rows = _BatchRows(batch, outputs)
        buffers: dict[str, Array] = {}
        for op in self._plan.ops[:n_ops]:
            self._run(op, buffers, rows)
        for sequence in rows.sequences:
            sequence.cache.length += len(sequence.positions)
        values = np.ascontiguousarray(buffers[result], np.float32)
        return values.reshape(-1).data.cast("B").cast("f")

    def close(self) -> None:
        """Frees the weights."""
        self._weights = {}

    def _run(self, op: object, buffers: dict[str, Array], batch: _BatchRows) -> None:
        match op:
            case Embed():
                n_rows = self._plan.weights[op.weight].shape[-1]
                if batch.tokens.min() < 0 or batch.tokens.max() >= n_rows:
                    raise InvalidRequestError(f"a token is outside of 0..{n_rows - 1}")
                if isinstance(self._weights, dict):
                    embedded = self._weights[op.weight][batch.tokens]
                else:
                    embedded = self._weights.rows(op.weight, batch.tokens)
                buffers[op.dst] = embedded * np.float32(op.scale)
            case PositionEmbed():
                table = self._weights[op.weight]
                if batch.positions.max() >= len(table):
                    raise InvalidRequestError(f"the model knows {len(table)} positions")
                buffers[op.dst] = table[batch.positions]
            case RMSNorm():
                buffers[op.dst] = _rms_norm(
                    buffers[op.src], self._weights[op.weight], op.group, op.eps
                )
            case LayerNorm():
                bias = None if op.bias is None else self._weights[op.bias]
                buffers[op.dst] = _layer_norm(buffers[op.src], self._weights[op.weight], bias, op)
            case Linear():
                product = buffers[op.src] @ self._weights[op.weight].T
                if op.bias is not None:
                    product += self._weights[op.bias]
                width = self._plan.buffers[op.dst].width
                if product.shape[1] == width:
                    buffers[op.dst] = product
                else:
                    if op.column == 0:
                        buffers[op.dst] = np.empty((len(product), width), np.float32)
                    columns = slice(op.column, op.column + product.shape[1])
                    buffers[op.dst][:, columns] = product
            case RopeTable():
                buffers[op.dst] = _rope_table(batch.positions, op)
            case Rope():
                buffers[op.buffer] = _rope(buffers[op.buffer], buffers[op.table], op)
            case KVStore():
                for sequence in batch.sequences:
                    rows = sequence.rows
                    sequence.cache.store(op.layer, buffers[op.keys][rows], buffers[op.values][rows])
            case Attention():
                attended = []
                for sequence in batch.sequences:
                    keys, values = sequence.cache.read(op.layer, len(sequence.positions))
                    queries = buffers[op.queries][sequence.rows]
                    attended.append(_attention(queries, keys, values, op))
                buffers[op.dst] = np.concatenate(attended)
            case GLU():
                buffers[op.dst] = _activate(buffers[op.gate], op.activation) * buffers[op.up]
            case Activate():
                buffers[op.dst] = _activate(buffers[op.src], op.activation)
            case Scale():
                buffers[op.dst] = np.float32(op.factor) * buffers[op.src]
            case Add():
                buffers[op.dst] = buffers[op.a] + np.float32(op.scale) * buffers[op.b]
            case AddBias():
                buffers[op.dst] = buffers[op.src] + self._weights[op.bias]
            case SelectRows():
                buffers[op.dst] = buffers[op.src][batch.outputs]
            case Softcap():
                cap = np.float32(op.cap)
                buffers[op.dst] = cap * np.tanh(buffers[op.src] / cap)
            case SelectExperts():
                buffers[op.dst] = select_experts(buffers[op.src], op.n_used, op.weighting)
            case ExpertLinear():
                buffers[op.dst] = expert_linear(
                    buffers[op.src], buffers[op.routes], self._weights[op.weight]
                )
            case ExpertSum():
                buffers[op.dst] = expert_sum(buffers[op.src], buffers[op.routes])
            case _:
                raise NotImplementedError(type(op).__name__)


class NumpyKVCache:
    """Float32 keys and values, [position, head, dim] a layer, in arrays that double when full."""

    def __init__(self, plan: Plan) -> None:
        layers = plan.kv_layers
        self.length = 0
        self._plan = plan
        self._keys = [np.empty((0, layer.n_heads, layer.k_dim), np.float32) for layer in layers]
        self._values = [np.empty((0, layer.n_heads, layer.v_dim), np.float32) for layer in layers]

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""
        if not 0 <= length <= self.length:
            raise InvalidRequestError(f"cannot cut a cache of {self.length} tokens to {length}")
        self.length = length

    def fork(self, length: int) -> NumpyKVCache:
        """See `KVCache.fork`: copies everything."""
        if not 0 <= length <= self.length:
            raise InvalidRequestError(f"a cache of {self.length} tokens has no first {length}")
        other = NumpyKVCache(self._plan)
        other.length = length
        other._keys = [keys[:length].copy() for keys in self._keys]
        other._values = [values[:length].copy() for values in self._values]
        return other

    @property
    def can_shift(self) -> bool:
        """See `KVCache.can_shift`."""
        return key_rotations(self._plan) is not None

    def shift(self, start: int, count: int) -> None:
        """See `KVCache.shift`."""
        check_shift(self, start, count)
        moved, to = slice(start + count, self.length), slice(start, self.length - count)
        rotations = key_rotations(self._plan) or ()
        for keys, values, rotation in zip(self._keys, self._values, rotations, strict=True):
            keys[to] = _turned_back(keys[moved], rotation, count)
            values[to] = values[moved].copy()
        self.length -= count

    @property
    def layout(self) -> str:
        """See `KVCache.layout`."""
        return "float32 layers " + ",".join(
            f"{keys.shape[1]}x{keys.shape[2]}x{values.shape[2]}"
            for keys, values in zip(self._keys, self._values, strict=True)
        )

    def export(self) -> bytes:
        """See `KVCache.export`: the keys of all layers, then the values."""
        arrays = (*self._keys, *self._values)
        return b"".join(array[: self.length].tobytes() for array in arrays)

    def restore(self, data: bytes, length: int) -> None:
        """See `KVCache.restore`."""
        shapes = [(length, *array.shape[1:]) for array in (*self._keys, *self._values)]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        if len(data) != 4 * ends[-1]:
            raise InvalidRequestError(f"{len(data)} bytes are no cache of {length} tokens")
        parts = np.split(np.frombuffer(data, np.float32), ends[:-1])
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


class _SequenceRows:
    """One sequence's cache, its rows in the batch, and their positions."""

    def __init__(self, cache: NumpyKVCache, first_row: int, n_tokens: int) -> None:
        self.cache = cache
        self.rows = slice(first_row, first_row + n_tokens)
        self.positions = np.arange(cache.length, cache.length + n_tokens)


class _BatchRows:
    """The rows of a batch, sequence after sequence."""

    def __init__(self, batch: Batch, outputs: Outputs) -> None:
        self.sequences: list[_SequenceRows] = []
        ids: list[int] = []
        for cache, tokens in batch:
            assert isinstance(cache, NumpyKVCache)
            self.sequences.append(_SequenceRows(cache, len(ids), len(tokens)))
            ids.extend(tokens)
        self.tokens = np.asarray(ids, np.int64)
        self.positions = np.concatenate([sequence.positions for sequence in self.sequences])
        last_rows = np.array([sequence.rows.stop - 1 for sequence in self.sequences])
        self.outputs = last_rows if outputs == "last" else np.arange(len(ids))


def _rms_norm(x: Array, weight: Array, group: int, eps: float) -> Array:
    groups = x.reshape(len(x), -1, group)
    mean_square = np.mean(groups * groups, axis=-1, keepdims=True)
    normed: Array = groups / np.sqrt(mean_square + np.float32(eps)) * weight
    return normed.reshape(x.shape)


def _layer_norm(x: Array, weight: Array, bias: Array | None, op: LayerNorm) -> Array:
    groups = x.reshape(len(x), -1, op.group)
    centered = groups - groups.mean(axis=-1, keepdims=True)
    variance = np.mean(centered * centered, axis=-1, keepdims=True)
    normed = (centered / np.sqrt(variance + np.float32(op.eps))).reshape(len(x), -1, weight.size)
    weighted = normed * weight.reshape(-1)
    if bias is not None:
        weighted += bias
    return _as_float32(weighted.reshape(x.shape))


def _rope_table(positions: NDArray[np.int64], op: RopeTable) -> Array:
    angles = positions[:, None] * np.asarray(op.inverse_frequencies, np.float64)
    runs = np.minimum(positions // op.run_length, len(op.magnitudes) - 1)
    table = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    table *= np.asarray(op.magnitudes)[runs, None]
    return table.astype(np.float32)


def _rope(x: Array, table: Array, op: Rope) -> Array:
    heads = x.reshape(len(x), -1, op.head_dim)
    return _rotated(heads, table, op.style).reshape(x.shape)


def _rotated(heads: Array, table: Array, style: RopeStyle) -> Array:
    """Heads [rows, heads, dim], turned by the angles of table [rows, 2 * pairs]."""
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


def _turned_back(keys: Array, rotation: KeyRotation, n: int) -> Array:
    table = np.array([turned_back(rotation.frequencies, n)], np.float32)
    return _rotated(keys, table, rotation.style)


def _attention(q: Array, keys: Array, values: Array, op: Attention) -> Array:
    n_tokens, n_keys = len(q), len(keys)
    group = op.n_heads // keys.shape[1]
    queries = q.reshape(n_tokens, op.n_heads, -1).transpose(1, 0, 2)
    keys = np.repeat(keys.transpose(1, 2, 0), group, axis=0)
    values = np.repeat(values.transpose(1, 0, 2), group, axis=0)
    scores = queries @ keys * np.float32(op.scale)
    if op.softcap > 0:
        scores = op.softcap * np.tanh(scores / np.float32(op.softcap))
    query_position = np.arange(n_keys - n_tokens, n_keys)[:, None]
    key_position = np.arange(n_keys)[None, :]
    visible = key_position <= (query_position if op.causal else n_keys)
    if op.window > 0:
        visible &= key_position > query_position - op.window
    scores = np.where(visible, scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    if np.isfinite(values).all():
        attended = weights @ values
    else:
        # 0 times what is no number would be none
        seen = np.broadcast_to(visible, (n_tokens, n_keys))
        rows = [weights[:, t][:, None, v] @ values[:, v] for t, v in enumerate(seen)]
        attended = np.concatenate(rows, axis=1)
    return _as_float32(attended.transpose(1, 0, 2).reshape(n_tokens, -1))


def _activate(x: Array, activation: Activation) -> Array:
    return _silu(x) if activation == "silu" else _gelu(x)


def _silu(x: Array) -> Array:
    return _as_float32(x / (1.0 + np.exp(-np.clip(x, -80, None))))


def _gelu(x: Array) -> Array:
    # the tanh form, Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415
    inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
    return _as_float32(0.5 * x * (1.0 + np.tanh(inner)))


def _as_float32(x: NDArray[np.floating]) -> Array:
    return x.astype(np.float32, copy=False)
