"""The operations of a plan in NumPy: one function each, found by the operation's class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequestError
from ...plan.operations.attention import Attention, KVStore
from ...plan.operations.elementwise import (
    GLU,
    XIELU,
    Activate,
    Add,
    AddBias,
    Clamp,
    MultiplyVector,
    Scale,
    SelectRows,
    Softcap,
    TakeColumns,
)
from ...plan.operations.embedding import Embed, PositionEmbed
from ...plan.operations.experts import ExpertLinear, ExpertSum, SelectExperts
from ...plan.operations.linear import Linear
from ...plan.operations.norms import LayerNorm, RMSNorm
from ...plan.operations.pooling import MeanRows
from ...plan.operations.rope import Rope, RopeTable
from .forward_pass import Array, ForwardPass, computes
from .kv_cache import rotated
from .weights import PagedArrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...plan.operations.elementwise import Activation
    from ...plan.operations.experts import ExpertWeighting


@computes(Embed)
def _embed(op: Embed, run: ForwardPass) -> Array:
    n_rows = run.plan.weights[op.weight].shape[-1]
    if run.tokens.min() < 0 or run.tokens.max() >= n_rows:
        raise InvalidRequestError(f"a token is outside of 0..{n_rows - 1}")
    if isinstance(run.weights, PagedArrays):
        rows = run.weights.rows(op.weight, run.tokens)
    else:
        rows = run.weights[op.weight][run.tokens]
    return rows * np.float32(op.scale)


@computes(PositionEmbed)
def _position_embed(op: PositionEmbed, run: ForwardPass) -> Array:
    table = run.weights[op.weight]
    if run.positions.max() >= len(table):
        raise InvalidRequestError(f"the model knows {len(table)} positions")
    return table[run.positions]


@computes(RMSNorm)
def _rms_norm(op: RMSNorm, run: ForwardPass) -> Array:
    x = run[op.src]
    groups = x.reshape(len(x), -1, op.group)
    mean_square = np.mean(groups * groups, axis=-1, keepdims=True)
    normed: Array = groups / np.sqrt(mean_square + np.float32(op.eps))
    if op.weight is not None:
        weight = run.weights[op.weight]
        normed = normed.reshape(len(x), -1, weight.size) * weight.reshape(-1)
    return normed.reshape(x.shape)


@computes(LayerNorm)
def _layer_norm(op: LayerNorm, run: ForwardPass) -> Array:
    x = run[op.src]
    groups = x.reshape(len(x), -1, op.group)
    centered = groups - groups.mean(axis=-1, keepdims=True)
    variance = np.mean(centered * centered, axis=-1, keepdims=True)
    normed = centered / np.sqrt(variance + np.float32(op.eps))
    if op.weight is not None:
        weight = run.weights[op.weight].reshape(-1)
        normed = normed.reshape(len(x), -1, weight.size) * weight
    if op.bias is not None:
        normed += run.weights[op.bias]
    return _as_float32(normed.reshape(x.shape))


@computes(Linear)
def _linear(op: Linear, run: ForwardPass) -> Array:
    product: Array = run[op.src] @ run.weights[op.weight].T
    if op.scale is not None:
        product *= run.weights[op.scale]
    if op.bias is not None:
        product += run.weights[op.bias]
    width = run.plan.buffers[op.dst].width
    if product.shape[1] == width:
        return product
    whole = run[op.dst] if op.column else np.empty((len(product), width), np.float32)
    whole[:, op.column : op.column + product.shape[1]] = product
    return whole


@computes(RopeTable)
def _rope_table(op: RopeTable, run: ForwardPass) -> Array:
    angles = run.positions[:, None] * np.asarray(op.frequencies, np.float64)
    factors = np.asarray(op.attention_factors)
    table = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    table *= factors[np.minimum(run.positions // op.interval, len(factors) - 1), None]
    return table.astype(np.float32)


@computes(Rope)
def _rope(op: Rope, run: ForwardPass) -> Array:
    x = run[op.buffer]
    heads = x.reshape(len(x), -1, op.head_dim)
    return rotated(heads, run[op.table], op.style).reshape(x.shape)


@computes(KVStore)
def _kv_store(op: KVStore, run: ForwardPass) -> None:
    for cache, rows in run.sequences:
        cache.store(op.layer, run[op.keys][rows], run[op.values][rows])


@computes(Attention)
def _attention(op: Attention, run: ForwardPass) -> Array:
    attended = []
    for cache, rows in run.sequences:
        queries = run[op.queries][rows]
        sinks = None if op.sinks is None else run.weights[op.sinks]
        bias = None if op.position_bias is None else run.weights[op.position_bias]
        attended.append(attention(queries, *cache.read(op.layer, len(queries)), op, sinks, bias))
    return np.concatenate(attended)


def attention(
    queries: Array,
    keys: Array,
    values: Array,
    op: Attention,
    sinks: Array | None = None,
    position_bias: Array | None = None,
) -> Array:
    """Attention of one sequence's last tokens.

    Args:
        queries: float32 [tokens, n_heads * k_dim].
        keys: float32 [positions, n_kv_heads, k_dim], those of the tokens last.
        values: float32 [positions, n_kv_heads, v_dim].
        sinks: float32 [n_heads], of an operation that has them.
        position_bias: float32 [n_buckets * n_heads], the same.

    Returns:
        float32 [tokens, n_heads * v_dim].
    """
    n_tokens, n_keys = len(queries), len(keys)
    group = op.n_heads // keys.shape[1]
    queries = queries.reshape(n_tokens, op.n_heads, -1).transpose(1, 0, 2)
    keys = np.repeat(keys.transpose(1, 2, 0), group, axis=0)
    values = np.repeat(values.transpose(1, 0, 2), group, axis=0)
    scores = queries @ keys * np.float32(op.scale)
    if op.softcap > 0:
        scores = op.softcap * np.tanh(scores / np.float32(op.softcap))
    query_position = np.arange(n_keys - n_tokens, n_keys)[:, None]
    key_position = np.arange(n_keys)[None, :]
    scores = scores + _distance_scores(op, key_position - query_position, position_bias)
    last_seen = query_position if op.causal else np.full_like(query_position, n_keys)
    first_seen = np.zeros_like(query_position)
    if op.window > 0 and op.causal:
        first_seen = query_position - op.window + 1
    elif op.window > 0:
        first_seen, last_seen = (query_position + d * (op.window // 2) for d in (-1, 1))
    visible = (first_seen <= key_position) & (key_position <= last_seen)
    scores = np.where(visible, scores, np.float32(-np.inf))
    largest = scores.max(axis=-1, keepdims=True)
    if sinks is not None:
        largest = np.maximum(largest, sinks[:, None, None])
    weights = np.exp(scores - largest)
    total = weights.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total += np.exp(sinks[:, None, None] - largest)
    weights /= total
    if np.isfinite(values).all():
        attended = weights @ values
    else:
        # a weight of 0 times NaN or an infinity is NaN, so each row takes what it sees only
        seen = np.broadcast_to(visible, (n_tokens, n_keys))
        rows = [weights[:, t][:, None, v] @ values[:, v] for t, v in enumerate(seen)]
        attended = np.concatenate(rows, axis=1)
    return _as_float32(attended.transpose(1, 0, 2).reshape(n_tokens, -1))


def _distance_scores(
    op: Attention, distance: NDArray[np.int64], position_bias: Array | None
) -> Array:
    """What is added to scores by the distance of keys from queries, [heads, queries, keys]."""
    scores = np.zeros((1, 1, 1), np.float32)
    if op.slopes:
        scores = scores - np.array(op.slopes, np.float32)[:, None, None] * np.abs(distance)
    if position_bias is not None:
        farthest = len(op.buckets) // 2
        places = np.clip(distance, -farthest, farthest) + farthest
        buckets = np.array(op.buckets, np.int64)[places]
        scores = scores + position_bias.reshape(-1, op.n_heads)[buckets].transpose(2, 0, 1)
    return scores.astype(np.float32)


@computes(GLU)
def _glu(op: GLU, run: ForwardPass) -> Array:
    if op.activation == "clamped_swiglu":
        gate, up = np.minimum(run[op.gate], np.float32(7)), np.clip(run[op.up], -7, 7)
        return _as_float32(gate * _sigmoid(np.float32(1.702) * gate) * (up + 1))
    return _activated(run[op.gate], op.activation) * run[op.up]


@computes(Activate)
def _activate(op: Activate, run: ForwardPass) -> Array:
    return _activated(run[op.src], op.activation)


def _activated(x: Array, activation: Activation) -> Array:
    return _ACTIVATIONS[activation](x)


def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return _as_float32(x / (1.0 + np.exp(-np.clip(x, -80, None))))


def _gelu(x: Array) -> Array:
    # the tanh form: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415
    inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
    return _as_float32(0.5 * x * (1.0 + np.tanh(inner)))


def _relu(x: Array) -> Array:
    return np.maximum(x, np.float32(0))


def _relu_squared(x: Array) -> Array:
    return np.square(_relu(x))


def _sigmoid(x: Array) -> Array:
    return _as_float32(1.0 / (1.0 + np.exp(-np.clip(x, -80, None))))


_ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "silu": silu,
    "gelu": _gelu,
    "relu": _relu,
    "relu_squared": _relu_squared,
    "sigmoid": _sigmoid,
    "identity": lambda x: x,
}


@computes(Clamp)
def _clamp(op: Clamp, run: ForwardPass) -> Array:
    clamped: Array = np.clip(run[op.src], np.float32(-op.limit), np.float32(op.limit))
    return clamped


@computes(XIELU)
def _xielu(op: XIELU, run: ForwardPass) -> Array:
    x = run[op.src]
    above, below = np.maximum(x, np.float32(0)), np.minimum(x, np.float32(0))
    curve = op.positive * above * above + op.negative * (np.expm1(below) - below)
    return _as_float32(curve + op.linear * x)


@computes(Scale)
def _scale(op: Scale, run: ForwardPass) -> Array:
    scaled: Array = np.float32(op.factor) * run[op.src]
    return scaled


@computes(Add)
def _add(op: Add, run: ForwardPass) -> Array:
    return run[op.a] + np.float32(op.scale) * run[op.b]


@computes(AddBias)
def _add_bias(op: AddBias, run: ForwardPass) -> Array:
    return run[op.src] + run.weights[op.bias]


@computes(MultiplyVector)
def _multiply_vector(op: MultiplyVector, run: ForwardPass) -> Array:
    return run[op.src] * run.weights[op.weight]


@computes(SelectRows)
def _select_rows(op: SelectRows, run: ForwardPass) -> Array:
    selected: Array = run[op.src][run.outputs]
    return selected


@computes(MeanRows)
def _mean_rows(op: MeanRows, run: ForwardPass) -> Array:
    x = run[op.src]
    means = np.empty((len(run.outputs), x.shape[1]), np.float32)
    for _, rows in run.sequences:
        means[(rows.start <= run.outputs) & (run.outputs < rows.stop)] = x[rows].mean(axis=0)
    return means


@computes(Softcap)
def _softcap(op: Softcap, run: ForwardPass) -> Array:
    cap = np.float32(op.cap)
    bounded: Array = cap * np.tanh(run[op.src] / cap)
    return bounded


@computes(SelectExperts)
def _select_experts(op: SelectExperts, run: ForwardPass) -> Array:
    bias = None if op.bias is None else run.weights[op.bias]
    return select_experts(
        run[op.src],
        op.n_used,
        op.weighting,
        bias=bias,
        scale=op.scale,
        n_groups=op.n_groups,
        n_groups_used=op.n_groups_used,
    )


def select_experts(
    logits: Array,
    n_used: int,
    weighting: ExpertWeighting,
    *,
    bias: Array | None = None,
    scale: float = 1.0,
    n_groups: int = 1,
    n_groups_used: int = 1,
) -> Array:
    """The experts of each token and their weights, as float32 [rows, 2 * n_used]."""
    is_sigmoid = weighting in ("sigmoid", "sigmoid_of_used")
    scores = logits
    if bias is not None or n_groups > 1:
        scores = _sigmoid(logits) if is_sigmoid else _softmax(logits)
        scores = scores if bias is None else scores + bias
    if n_groups > 1:
        scores = _in_best_groups(scores, n_groups, n_groups_used)
    experts = np.argsort(-scores, axis=-1, kind="stable")[:, :n_used]  # NaN comes last
    used = np.take_along_axis(logits, experts, axis=-1)
    if weighting == "softmax_of_used":
        weights = _softmax(used)
    else:
        probabilities = _sigmoid(logits) if is_sigmoid else _softmax(logits)
        weights = np.take_along_axis(probabilities, experts, axis=-1)
    if weighting == "sigmoid_of_used":
        # sigmoids so small that they sum to 0 stay 0
        weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), np.float32(2.0**-14))
    weights = _as_float32(weights * np.float32(scale))
    return np.concatenate([experts.astype(np.float32), weights], axis=-1)


def _softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return _as_float32(exponentials / exponentials.sum(axis=-1, keepdims=True))


def _in_best_groups(scores: Array, n_groups: int, n_groups_used: int) -> Array:
    """The scores, with -infinity outside of each row's groups with the best pairs."""
    groups = scores.reshape(len(scores), n_groups, -1)
    pairs = np.sort(groups, axis=-1)[..., -2:].sum(axis=-1)
    best = np.argsort(-pairs, axis=-1, kind="stable")[:, :n_groups_used]
    is_used = np.zeros(pairs.shape, bool)
    np.put_along_axis(is_used, best, True, axis=-1)
    return np.where(is_used[..., None], groups, np.float32(-np.inf)).reshape(scores.shape)


@computes(ExpertLinear)
def _expert_linear(op: ExpertLinear, run: ForwardPass) -> Array:
    bias = None if op.bias is None else run.weights[op.bias]
    scale = None if op.scale is None else run.weights[op.scale]
    return expert_linear(run[op.src], run[op.routes], run.weights[op.weight], bias, scale)


def expert_linear(
    x: Array, routes: Array, weight: Array, bias: Array | None = None, scale: Array | None = None
) -> Array:
    """Each token's products with the matrices of its experts.

    Args:
        x: float32 [rows, n_in], or [rows, n_used * n_in]: an input for each expert.
        routes: from `select_experts`.
        weight: float32 [n_experts, n_out, n_in].
        bias: float32 [n_experts, n_out].
        scale: float32 [n_experts].

    Returns:
        float32 [rows, n_used * n_out].
    """
    _, n_out, n_in = weight.shape
    n_used = routes.shape[1] // 2
    experts = routes[:, :n_used].astype(np.int64).reshape(-1)
    inputs = x.reshape(-1, n_in) if x.shape[1] != n_in else np.repeat(x, n_used, axis=0)
    result = np.empty((len(experts), n_out), np.float32)
    for expert in np.unique(experts):
        rows = experts == expert
        result[rows] = inputs[rows] @ weight[expert].T * (1 if scale is None else scale[expert])
        if bias is not None:
            result[rows] += bias[expert]
    return result.reshape(len(x), -1)


@computes(ExpertSum)
def _expert_sum(op: ExpertSum, run: ForwardPass) -> Array:
    return expert_sum(run[op.src], run[op.routes])


def expert_sum(x: Array, routes: Array) -> Array:
    """The weighted sum of each token's experts: [rows, n_used * width] to [rows, width]."""
    n_used = routes.shape[1] // 2
    weights = routes[:, n_used:, None]
    total: Array = (x.reshape(len(x), n_used, -1) * weights).sum(axis=1)
    return total


@computes(TakeColumns)
def _take_columns(op: TakeColumns, run: ForwardPass) -> Array:
    x = run[op.src]
    taken = x.reshape(len(x), -1, op.group)[..., op.start : op.start + op.count]
    return np.ascontiguousarray(taken).reshape(len(x), -1)


def _as_float32(x: NDArray[np.floating]) -> Array:
    return x.astype(np.float32, copy=False)
