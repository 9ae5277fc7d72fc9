"""Mixtures of experts in NumPy: the reference for kernels_c/ops/experts.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ...plan.operations import ExpertWeighting

Array = NDArray[np.float32]


def select_experts(logits: Array, n_used: int, weighting: ExpertWeighting) -> Array:
    """The experts of each token and their weights, as float32 [rows, 2 * n_used]."""
    experts = np.argsort(-logits, axis=-1, kind="stable")[:, :n_used]  # NaN comes last
    used = np.take_along_axis(logits, experts, axis=-1)
    if weighting == "sigmoid":
        weights = 1 / (1 + np.exp(-used))
    else:
        weights = np.exp(used - used[:, :1])
        among = weights if weighting == "softmax_of_used" else np.exp(logits - used[:, :1])
        weights = weights / among.sum(axis=-1, keepdims=True)
    return np.concatenate([experts.astype(np.float32), weights.astype(np.float32)], axis=-1)


def expert_linear(x: Array, routes: Array, weight: Array) -> Array:
    """Each token's products with the matrices of its experts.

    Args:
        x: float32 [rows, n_in], or [rows, n_used * n_in]: an input for each expert.
        routes: from `select_experts`.
        weight: float32 [n_experts, n_out, n_in].

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
        result[rows] = inputs[rows] @ weight[expert].T
    return result.reshape(len(x), -1)


def expert_sum(x: Array, routes: Array) -> Array:
    """The weighted sum of each token's experts: [rows, n_used * width] to [rows, width]."""
    n_used = routes.shape[1] // 2
    weights = routes[:, n_used:, None]
    total: Array = (x.reshape(len(x), n_used, -1) * weights).sum(axis=1)
    return total
