"""The kernels' recurrent operations against float64 NumPy, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from linear_driver import libraries, load
from ops_driver import KernelPlan, Pool

from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.numpy import recurrent as numpy_recurrent
from oxillama_web.plan.operations.elementwise import TakeColumns
from oxillama_web.plan.operations.recurrent import (
    CausalConv,
    Decay,
    GatedDeltaRule,
    SelectiveScan,
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def run_in_pieces(
    plan: KernelPlan, isa: str, inputs: dict[int, np.ndarray], dst: int, pieces: list[int],
    n_threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """What a plan writes to `dst` in passes of so many tokens each, from the rows of its inputs."""
    library = load(isa)
    assert plan.check(library) == 0
    results, position = [], 0
    for n in pieces:
        for buffer, values in inputs.items():
            plan.write(buffer, values[position : position + n])
        if n_threads > 1:
            with Pool(library, n_threads) as pool:
                assert plan.run(library, n, position, pool=pool) == 0
        else:
            assert plan.run(library, n, position) == 0
        results.append(plan.read(dst, n))
        position += n
    return np.concatenate(results)


def causal_conv(
    isa: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, silu: bool,
    pieces: list[int], n_threads: int = 1,
) -> np.ndarray:  # fmt: skip
    n_channels, taps = weight.shape
    plan = KernelPlan()
    src, dst = (plan.buffer(max(pieces), n_channels) for _ in range(2))
    plan.op(
        CausalConv,
        dst=dst,
        src=src,
        weight=plan.tensor(plan.matrix_struct(weight)),
        bias=-1 if bias is None else plan.vector(bias),
        state=plan.state(taps - 1, n_channels),
        silu=silu,
    )
    return run_in_pieces(plan, isa, {src: x}, dst, pieces, n_threads)


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


PIECES = [1, 1, 9, 2, 10]
N_TOKENS = sum(PIECES)


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.3, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("k_dim", "v_dim", "each", "in_turn"),
    [(16, 64, False, False), (5, 7, True, False), (32, 128, True, True), (3, 21, False, True)],
)
def test_gated_delta_rule(k_dim: int, v_dim: int, each: bool, in_turn: bool) -> None:
    """Whole blocks of columns and parts of one; in pieces and on threads the same bits."""
    n_heads, n_keys = 4, 2
    query, key = (normal(N_TOKENS, n_keys * k_dim, seed=s) / 4 for s in (1, 2))
    value = normal(N_TOKENS, n_heads * v_dim, seed=3)
    decay = uniform(N_TOKENS, n_heads * (k_dim if each else 1), seed=4)
    beta = uniform(N_TOKENS, n_heads, seed=5)
    heads = np.arange(n_heads)
    shared = heads % n_keys if in_turn else heads // (n_heads // n_keys)
    by_heads = [values.reshape(N_TOKENS, n_keys, -1)[:, shared] for values in (query, key)]
    exact = numpy_recurrent.gated_delta_rule(
        by_heads[0] * 0.5,
        by_heads[1].astype(np.float64) * 0.8,
        value.reshape(N_TOKENS, n_heads, -1).astype(np.float64),
        decay.reshape(N_TOKENS, n_heads, -1),
        beta,
        np.zeros((n_heads * k_dim, v_dim)),
    )

    def run(isa: str, pieces: list[int], n_threads: int = 1) -> np.ndarray:
        plan = KernelPlan()
        arrays = (query, key, value, decay, beta)
        buffers = [plan.buffer(max(pieces), values.shape[1]) for values in arrays]
        dst = plan.buffer(max(pieces), value.shape[1])
        names = ("query", "key", "value", "decay", "beta")
        plan.op(
            GatedDeltaRule,
            dst=dst,
            **dict(zip(names, buffers, strict=True)),
            state=plan.state(n_heads * k_dim, v_dim),
            n_heads=n_heads,
            n_key_heads=n_keys,
            in_turn=in_turn,
            query_scale=0.5,
            key_scale=0.8,
        )
        inputs = dict(zip(buffers, arrays, strict=True))
        return run_in_pieces(plan, isa, inputs, dst, pieces, n_threads)

    for isa in libraries():
        whole = run(isa, [N_TOKENS])
        np.testing.assert_allclose(whole, exact, rtol=1e-4, atol=2e-5)
        np.testing.assert_array_equal(run(isa, PIECES), whole)
        np.testing.assert_array_equal(run(isa, [1, N_TOKENS - 1], n_threads=3), whole)


@pytest.mark.parametrize(
    ("n_heads", "head_dim", "n_state", "each"),
    [(4, 64, 16, False), (4, 7, 5, False), (1, 150, 16, True), (1, 9, 3, True)],
)
def test_selective_scan(n_heads: int, head_dim: int, n_state: int, each: bool) -> None:
    """Of Mamba 2, and of Mamba (`each`)."""
    n_groups, width = (1 if each else 2), n_heads * head_dim
    n_steps = width if each else n_heads
    x, step = normal(N_TOKENS, width, seed=1), normal(N_TOKENS, n_steps, seed=2)
    b, c = (normal(N_TOKENS, n_groups * n_state, seed=s) / 2 for s in (3, 4))
    bias, skip = normal(n_steps, seed=5), normal(n_heads, seed=6)
    rate = -uniform(width, n_state, seed=7) if each else -uniform(n_heads, 1, seed=7)

    def exact(bias: np.ndarray | float) -> np.ndarray:
        return numpy_recurrent.selective_scan(
            x.reshape(N_TOKENS, n_heads, -1).astype(np.float64),
            (step + bias).reshape(N_TOKENS, n_heads, -1),
            b.reshape(N_TOKENS, n_groups, -1),
            c.reshape(N_TOKENS, n_groups, -1),
            rate.reshape(n_heads, n_steps // n_heads, -1),
            skip.reshape(n_heads, -1),
            state=np.zeros((n_heads * n_state, head_dim)),
        )

    def run(isa: str, pieces: list[int], n_threads: int = 1, biased: bool = True) -> np.ndarray:
        plan = KernelPlan()
        arrays = (x, step, b, c)
        buffers = [plan.buffer(max(pieces), values.shape[1]) for values in arrays]
        dst = plan.buffer(max(pieces), width)
        plan.op(
            SelectiveScan,
            dst=dst,
            **dict(zip(("x", "step", "b", "c"), buffers, strict=True)),
            bias=plan.vector(bias) if biased else -1,
            rate=plan.tensor(plan.matrix_struct(rate)),
            skip=plan.vector(skip),
            state=plan.state(n_heads * n_state, head_dim),
            n_heads=n_heads,
            n_groups=n_groups,
        )
        inputs = dict(zip(buffers, arrays, strict=True))
        return run_in_pieces(plan, isa, inputs, dst, pieces, n_threads)

    for isa in libraries():
        whole = run(isa, [N_TOKENS])
        np.testing.assert_allclose(whole, exact(bias), rtol=1e-4, atol=2e-5)
        np.testing.assert_array_equal(run(isa, PIECES), whole)
        np.testing.assert_array_equal(run(isa, [1, N_TOKENS - 1], n_threads=3), whole)
        unbiased = run(isa, [N_TOKENS], biased=False)
        np.testing.assert_allclose(unbiased, exact(0.0), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("group", [1, 13])
def test_decay(group: int) -> None:
    """Also of large and small numbers, where log(1 + exp(x)) is x or next to nothing."""
    x = np.linspace(-90, 90, 7 * 26, dtype=np.float32).reshape(7, 26)
    bias, rate = normal(26, seed=1), -uniform(26 // group, seed=2)
    exact = np.exp(np.repeat(rate, group) * np.logaddexp(x + bias.astype(np.float64), 0))
    for isa in libraries():
        plan = KernelPlan()
        src, dst = plan.filled(x), plan.buffer(7, 26)
        plan.op(Decay, dst=dst, src=src, bias=plan.vector(bias), rate=plan.vector(rate))
        assert plan.check(load(isa)) == 0
        assert plan.run(load(isa), 7) == 0
        np.testing.assert_allclose(plan.read(dst), exact, rtol=3e-5, atol=1e-37)


def test_take_columns() -> None:
    x = normal(5, 24)
    for isa in libraries():
        plan = KernelPlan()
        src, dst = plan.filled(x), plan.buffer(5, 9)
        plan.op(TakeColumns, dst=dst, src=src, group=8, start=2, count=3)
        assert plan.check(load(isa)) == 0
        assert plan.run(load(isa), 5) == 0
        np.testing.assert_array_equal(plan.read(dst), x.reshape(5, 3, 8)[..., 2:5].reshape(5, 9))


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
