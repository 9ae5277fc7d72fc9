"""Heads that are joined, matrices of heads, and rows that are scaled by their positions."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from linear_driver import libraries, load
from ops_driver import KernelPlan

from oxillama_web.plan.operations.experts import AllExperts
from oxillama_web.plan.operations.heads import JoinHeads, ScalePositions

BAD_MODEL = 1


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("is_shared", [False, True])
def test_join_heads(library: ctypes.CDLL, is_shared: bool) -> None:
    first, second = normal(3, 5 if is_shared else 20), normal(3, 28, seed=1)
    plan = KernelPlan()
    buffers = {"first": plan.filled(first), "second": plan.filled(second)}
    dst = plan.buffer(3, 48)
    plan.op(JoinHeads, dst=dst, **buffers, first_dim=5, second_dim=7)
    assert plan.check(library) == 0
    assert plan.run(library, 3) == 0
    heads = np.broadcast_to(first.reshape(3, -1, 5), (3, 4, 5))
    expected = np.concatenate([heads, second.reshape(3, 4, 7)], axis=2).reshape(3, 48)
    np.testing.assert_array_equal(plan.read(dst), expected)


@pytest.mark.parametrize(("first_dim", "second_dim"), [(5, 8), (4, 7), (0, 7), (5, 14), (5, -7)])
def test_heads_that_do_not_fit(library: ctypes.CDLL, first_dim: int, second_dim: int) -> None:
    plan = KernelPlan()
    buffers = {"first": plan.buffer(3, 20), "second": plan.buffer(3, 28)}
    plan.op(
        JoinHeads, dst=plan.buffer(3, 48), **buffers, first_dim=first_dim, second_dim=second_dim
    )
    assert plan.check(library) == BAD_MODEL


def test_all_experts(library: ctypes.CDLL) -> None:
    plan = KernelPlan()
    dst = plan.buffer(2, 10)
    plan.op(AllExperts, src=plan.buffer(2, 3), dst=dst, n_experts=5)
    assert plan.check(library) == 0
    assert plan.run(library, 2) == 0
    np.testing.assert_array_equal(plan.read(dst), [[0, 1, 2, 3, 4, 1, 1, 1, 1, 1]] * 2)


def test_scale_positions(library: ctypes.CDLL) -> None:
    """Positions 6 to 15 with a factor for each 4: those of the second interval, and the last."""
    x = normal(10, 21)
    plan = KernelPlan()
    src, factors = plan.filled(x), plan.constant([2.0, 3.0, 5.0])
    plan.op(ScalePositions, src=src, dst=src, factors=factors, interval=4)
    assert plan.check(library) == 0
    assert plan.run(library, 10, position=6) == 0
    of_rows = np.array([3.0] * 2 + [5.0] * 8, np.float32)[:, None]
    np.testing.assert_array_equal(plan.read(src), x * of_rows)
    plan.op(ScalePositions, src=src, dst=src, factors=factors, interval=0)
    assert plan.check(library) == BAD_MODEL | 1 << 8
