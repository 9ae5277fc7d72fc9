"""Heads that are joined, routes to all experts, and scales of positions, in NumPy."""

from __future__ import annotations

import numpy as np

from ...plan.operations.experts import AllExperts
from ...plan.operations.heads import JoinHeads, ScalePositions
from .forward_pass import Array, ForwardPass, computes


@computes(JoinHeads)
def _join_heads(op: JoinHeads, run: ForwardPass) -> Array:
    n_rows = len(run[op.second])
    second = run[op.second].reshape(n_rows, -1, op.second_dim)
    first = run[op.first].reshape(n_rows, -1, op.first_dim)
    first = np.broadcast_to(first, (*second.shape[:2], op.first_dim))
    return np.concatenate([first, second], axis=-1).reshape(n_rows, -1)


@computes(AllExperts)
def _all_experts(op: AllExperts, run: ForwardPass) -> Array:
    row = np.concatenate([np.arange(op.n_experts), np.ones(op.n_experts)]).astype(np.float32)
    return np.tile(row, (len(run[op.src]), 1))


@computes(ScalePositions)
def _scale_positions(op: ScalePositions, run: ForwardPass) -> Array:
    factors = np.asarray(op.factors, np.float32)
    of_rows = factors[np.minimum(run.positions // op.interval, len(factors) - 1)]
    scaled: Array = run[op.src] * of_rows[:, None]
    return scaled
