"""Recurrent layers in NumPy: token by token, as their definitions are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


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
