"""Recurrent layers in NumPy: token by token, as their definitions are."""

from __future__ import annotations

import numpy as np

from ...plan.operations.recurrent import CausalConv, Decay, GatedDeltaRule, SelectiveScan
from .forward_pass import Array, ForwardPass, computes
from .operations import silu


@computes(CausalConv)
def _causal_conv(op: CausalConv, run: ForwardPass) -> Array:
    weight = run.weights[op.weight]
    bias = None if op.bias is None else run.weights[op.bias]
    parts = [
        causal_conv(run[op.src][rows], state, weight, bias) for state, rows in run.states(op.state)
    ]
    result = np.concatenate(parts)
    return silu(result) if op.silu else result


@computes(Decay)
def _decay(op: Decay, run: ForwardPass) -> Array:
    return decay_factors(run[op.src], run.weights[op.bias], run.weights[op.rate])


@computes(GatedDeltaRule)
def _gated_delta_rule(op: GatedDeltaRule, run: ForwardPass) -> Array:
    heads = np.arange(op.n_heads)
    key_heads = heads % op.n_key_heads if op.in_turn else heads // (op.n_heads // op.n_key_heads)

    def of_heads(name: str, rows: slice, n_heads: int) -> Array:
        return run[name][rows].reshape(rows.stop - rows.start, n_heads, -1)

    return np.concatenate(
        [
            gated_delta_rule(
                of_heads(op.query, rows, op.n_key_heads)[:, key_heads] * np.float32(op.query_scale),
                of_heads(op.key, rows, op.n_key_heads)[:, key_heads] * np.float32(op.key_scale),
                of_heads(op.value, rows, op.n_heads),
                of_heads(op.decay, rows, op.n_heads),
                run[op.beta][rows],
                state,
            )
            for state, rows in run.states(op.state)
        ]
    )


@computes(SelectiveScan)
def _selective_scan(op: SelectiveScan, run: ForwardPass) -> Array:
    x, steps = run[op.x], run[op.step]
    if op.bias is not None:
        steps = steps + run.weights[op.bias]
    heads = (len(x), op.n_heads, -1)
    groups = (len(x), op.n_groups, -1)
    x, steps = x.reshape(heads), steps.reshape(heads)
    b, c = run[op.b].reshape(groups), run[op.c].reshape(groups)
    rate = run.weights[op.rate].reshape(op.n_heads, steps.shape[2], -1)
    skip = run.weights[op.skip].reshape(op.n_heads, -1)
    return np.concatenate(
        [
            selective_scan(x[rows], steps[rows], b[rows], c[rows], rate, skip, state=state)
            for state, rows in run.states(op.state)
        ]
    )


def causal_conv(x: Array, state: Array, weight: Array, bias: Array | None) -> Array:
    """Convolve one sequence's tokens over time, each channel by itself.

    Args:
        x: float32 [tokens, channels].
        state: float32 [taps - 1, channels], the inputs before; becomes the last inputs.
        weight: float32 [channels, taps], that of the present input last.
        bias: float32 [channels], or None.
    """
    n_tokens, taps = len(x), weight.shape[1]
    inputs = np.concatenate([state, x])
    state[:] = inputs[n_tokens:]
    products = (weight[:, j] * inputs[j : j + n_tokens] for j in range(taps))
    result: Array = sum(products, np.zeros_like(x))
    return result if bias is None else result + bias


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.logaddexp(x, np.float32(0)).astype(np.float32)


def decay_factors(x: Array, bias: Array, rate: Array) -> Array:
    """exp(rate * softplus(x + bias)), float32 [tokens, width]; a rate for each group of values."""
    rates = np.repeat(rate.reshape(-1), len(bias) // rate.size)
    factors: Array = np.exp(rates * softplus(x + bias))
    return factors


def gated_delta_rule(
    query: Array, key: Array, value: Array, decay: Array, beta: Array, state: Array
) -> Array:
    """One sequence's tokens, each by the formula of the operation.

    Args:
        query, key: float32 [tokens, heads, k_dim], scaled.
        value: float32 [tokens, heads, v_dim].
        decay: float32 [tokens, heads, 1] or [tokens, heads, k_dim].
        beta: float32 [tokens, heads].
        state: float32 [heads * k_dim, v_dim], changed in place.

    Returns:
        float32 [tokens, heads * v_dim].
    """
    states = state.reshape(value.shape[1], -1, value.shape[2])
    result = np.empty_like(value)
    for t in range(len(value)):
        states *= decay[t, :, :, None]
        predicted = np.einsum("hkv,hk->hv", states, key[t])
        correction = beta[t, :, None] * (value[t] - predicted)
        states += key[t, :, :, None] * correction[:, None, :]
        result[t] = np.einsum("hkv,hk->hv", states, query[t])
    return result.reshape(len(value), -1)


def selective_scan(
    x: Array, steps: Array, b: Array, c: Array, rate: Array, skip: Array, *, state: Array
) -> Array:
    """One sequence's tokens, each by the formula of the operation.

    Args:
        x: float32 [tokens, heads, head_dim].
        steps: float32 [tokens, heads, 1] or [tokens, heads, head_dim], biased.
        b, c: float32 [tokens, groups, n_state].
        rate: float32 [heads, 1, 1] or [heads, head_dim, n_state].
        skip: float32 [heads, 1] or [heads, head_dim].
        state: float32 [heads * n_state, head_dim], changed in place.

    Returns:
        float32 [tokens, heads * head_dim].
    """
    n_tokens, n_heads, _ = x.shape
    shared = n_heads // b.shape[1]
    b, c = np.repeat(b, shared, axis=1), np.repeat(c, shared, axis=1)
    steps, states = softplus(steps), state.reshape(n_heads, -1, state.shape[1])
    result = np.empty_like(x)
    for t in range(n_tokens):
        states *= np.exp(steps[t, :, :, None] * rate).transpose(0, 2, 1)
        states += b[t, :, :, None] * (steps[t] * x[t])[:, None, :]
        result[t] = np.einsum("hnp,hn->hp", states, c[t]) + skip * x[t]
    return result.reshape(n_tokens, -1)
