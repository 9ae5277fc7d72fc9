"""The kernels' recurrent operations against float64 NumPy, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from linear_driver import libraries, load
from ops_driver import KernelPlan, Pool

from oxillama_web.backends.kernels.library import load_library
from oxillama_web.plan.operations.recurrent import CausalConv


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def causal_conv(
    isa: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, silu: bool,
    pieces: list[int], n_threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """Computed in passes of so many tokens each."""
    library, (n_channels, taps) = load(isa), weight.shape
    plan = KernelPlan()
    src, dst = plan.buffer(max(pieces), n_channels), plan.buffer(max(pieces), n_channels)
    tensor = plan.tensor(plan.matrix_struct(weight))
    plan.op(
        CausalConv,
        dst=dst,
        src=src,
        weight=tensor,
        bias=-1 if bias is None else plan.vector(bias),
        state=plan.state(taps - 1, n_channels),
        silu=silu,
    )
    assert plan.check(library) == 0
    results, position = [], 0
    for n in pieces:
        plan.write(src, x[position : position + n])
        if n_threads > 1:
            with Pool(library, n_threads) as pool:
                assert plan.run(library, n, position, pool=pool) == 0
        else:
            assert plan.run(library, n, position) == 0
        results.append(plan.read(dst, n))
        position += n
    return np.concatenate(results)


def expected_conv(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, silu: bool
) -> np.ndarray:
    taps = weight.shape[1]
    inputs = np.concatenate([np.zeros((taps - 1, x.shape[1])), x.astype(np.float64)])
    result = sum(weight[:, j] * inputs[j : j + len(x)] for j in range(taps))
    result = result + (0 if bias is None else bias)
    return result / (1 + np.exp(-result)) if silu else result


@pytest.mark.parametrize("taps", [2, 3, 4, 8])
@pytest.mark.parametrize("n_channels", [1, 5, 37, 64])
def test_causal_conv(taps: int, n_channels: int) -> None:
    """Also in pieces shorter than the taps, which give the same bits."""
    x, weight = normal(23, n_channels), normal(n_channels, taps, seed=1)
    for isa in libraries():
        for bias, silu in ((None, False), (normal(n_channels, seed=2), True)):
            whole = causal_conv(isa, x, weight, bias, silu, [23])
            expected = expected_conv(x, weight, bias, silu)
            np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-5)
            pieces = causal_conv(isa, x, weight, bias, silu, [1, 1, 9, 2, 10])
            np.testing.assert_array_equal(pieces, whole)
            threads = causal_conv(isa, x, weight, bias, silu, [1, 22], n_threads=3)
            np.testing.assert_array_equal(threads, whole)


def test_states_that_do_not_fit_are_refused() -> None:
    library = load_library().functions
    for rows, width, taps in ((3, 8, 3), (2, 7, 3), (2, 8, 9)):
        plan = KernelPlan()
        src, dst = plan.buffer(1, 8), plan.buffer(1, 8)
        tensor = plan.tensor(plan.matrix_struct(normal(8, taps)))
        state = plan.state(rows, width)
        plan.op(CausalConv, dst=dst, src=src, weight=tensor, bias=-1, state=state, silu=False)
        assert plan.check(library) & 0xFF == 1
    plan = KernelPlan()
    src, dst = plan.buffer(1, 8), plan.buffer(1, 8)
    tensor = plan.tensor(plan.matrix_struct(normal(8, 3)))
    state = plan.state(2, 8)
    plan.op(CausalConv, dst=dst, src=src, weight=tensor, bias=-1, state=state, silu=False)
    assert plan.check(library) == 0
    for offset, n_bytes in ((64, 64), (0, 63), (4, 128)):
        plan.states[0].offset, plan.state_bytes = offset, n_bytes
        assert plan.check(library) == 1
