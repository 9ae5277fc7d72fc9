"""Operations on rows of several vectors: the kernels and NumPy against float64."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import libraries, load
from ops_driver import KernelPlan, Pool

from oxillama_web.backends.numpy import streams
from oxillama_web.plan.operations.elementwise import MultiplyVector
from oxillama_web.plan.operations.streams import KeepLargest, MatchLength, MixStreams, PutColumns
from oxillama_web.plan.plan import Operation

BAD_MODEL = 1


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def run(
    library: ctypes.CDLL,
    operation: type[Operation],
    dst: np.ndarray,
    operands: dict[str, float],
    **buffers: np.ndarray,
) -> np.ndarray:
    """The rows of dst after the operation; three threads give the same bits."""
    results = []
    for n_threads in (1, 3):
        plan = KernelPlan()
        named = {name: plan.filled(values) for name, values in buffers.items()}
        index = plan.filled(dst)
        plan.op(operation, dst=index, **named, **operands)
        assert plan.check(library) == 0
        with Pool(library, n_threads) as pool:
            assert plan.run(library, len(dst), pool=pool) == 0
        results.append(plan.read(index).copy())
    np.testing.assert_array_equal(*results)
    return results[0]


@given(n=st.integers(1, 40), column=st.integers(0, 5), more=st.integers(0, 3), add=st.booleans())
@settings(max_examples=40, deadline=None)
def test_put_columns(n: int, column: int, more: int, add: bool) -> None:
    src, dst = normal(3, n), normal(3, column + n + more, seed=1)
    expected = dst.copy()
    expected[:, column : column + n] = expected[:, column : column + n] * add + src
    for isa in libraries():
        found = run(load(isa), PutColumns, dst, {"column": column, "add": int(add)}, src=src)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(streams.put_columns(src, dst, column, add=add), expected)


@pytest.mark.parametrize(("n_out", "n_in", "width"), [(4, 4, 64), (4, 1, 37), (1, 3, 5)])
def test_mix_streams(library: ctypes.CDLL, n_out: int, n_in: int, width: int) -> None:
    base, src = normal(5, n_out * width), normal(5, n_in * width, seed=1)
    factors = normal(5, n_out * n_in, seed=2)
    matrices = factors.astype(np.float64).reshape(5, n_out, n_in) + 0.5
    expected = base + (matrices @ src.reshape(5, n_in, width)).reshape(base.shape)
    buffers = {"base": base, "src": src, "coefficients": factors}
    found = run(library, MixStreams, base * 0, {"width": width, "offset": 0.5}, **buffers)
    np.testing.assert_allclose(found, expected, atol=3e-6)
    found = streams.mixed_streams(base, src, factors, width, 0.5)
    np.testing.assert_allclose(found, expected, atol=3e-6)


@pytest.mark.parametrize("width", [2, 16, 37, 300])
def test_match_length(library: ctypes.CDLL, width: int) -> None:
    src, reference = normal(4, width), 3 * normal(4, width, seed=1)
    lengths = [np.linalg.norm(x.astype(np.float64), axis=1)[:, None] for x in (reference, src)]
    expected = src * lengths[0] / lengths[1]
    found = run(library, MatchLength, src * 0, {}, src=src, reference=reference)
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    np.testing.assert_allclose(streams.matched_length(src, reference), expected, rtol=2e-6)


@pytest.mark.parametrize("width", [2, 16, 37, 300])
def test_keep_largest(library: ctypes.CDLL, width: int) -> None:
    src = normal(4, width) + np.float32(2)
    exact = src.astype(np.float64)
    least = exact.mean(axis=1) + 0.4 * exact.std(axis=1, ddof=1)
    expected = np.maximum(exact - least[:, None], 0)
    found = run(library, KeepLargest, src * 0, {"n_deviations": 0.4}, src=src)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(streams.kept_largest(src, 0.4), expected, atol=2e-6)


@pytest.mark.parametrize("n", [1, 37])
def test_multiply_vector(library: ctypes.CDLL, n: int) -> None:
    src, weight = normal(3, 37), normal(n, seed=1)
    plan = KernelPlan()
    dst = plan.buffer(3, 37)
    plan.op(MultiplyVector, dst=dst, src=plan.filled(src), weight=plan.vector(weight))
    assert plan.check(library) == 0
    assert plan.run(library, 3) == 0
    np.testing.assert_array_equal(plan.read(dst), src * weight)


@pytest.mark.parametrize(
    ("operation", "operands"),
    [
        (PutColumns, {"column": 1}),
        (PutColumns, {"column": -1}),
        (PutColumns, {"column": 2**31 - 1}),
        (PutColumns, {"add": 2}),
        (PutColumns, {"src": 1}),
        (MixStreams, {"width": 0, "base": 0, "coefficients": 0}),
        (MixStreams, {"width": 5, "base": 0, "coefficients": 0}),
        (MixStreams, {"width": 12, "base": 0, "coefficients": 0}),
        (MixStreams, {"width": 12, "base": 0, "coefficients": 2, "src": 1}),
        (MixStreams, {"width": 12, "base": 9, "coefficients": 2}),
        (MatchLength, {"reference": 2}),
        (MatchLength, {"reference": -1}),
        (KeepLargest, {"src": 2}),
        (MultiplyVector, {"weight": 0}),
        (MultiplyVector, {"weight": 7}),
    ],
)
def test_operations_that_do_not_fit(operation: type[Operation], operands: dict[str, float]) -> None:
    plan = KernelPlan()
    for width in (12, 12, 1):
        plan.buffer(2, width)
    plan.vector(np.ones(11))
    plan.op(operation, dst=1, **{"src": 0, **operands})
    assert plan.check(load("portable")) == BAD_MODEL
