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
