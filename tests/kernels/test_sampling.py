"""The kernels' sampling functions against NumPy in float64."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import Block, libraries, load

VOCABULARY = 262_144


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


def top_k(library: ctypes.CDLL, logits: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and values, in exactly as much memory as there must be."""
    n = min(k, len(logits))
    source = Block(4 * len(logits) or 64, logits.astype(np.float32).tobytes())
    ids, values = Block(4 * n or 64), Block(4 * n or 64)
    written = library.ox_top_k(
        *[ctypes.c_void_p(source.address), len(logits), k],
        *[ctypes.c_void_p(ids.address), ctypes.c_void_p(values.address)],
    )
    assert written == n
    return (
        np.frombuffer(ids.content(), np.uint32)[:n],
        np.frombuffer(values.content(), np.float32)[:n],
    )


def assert_top_k(library: ctypes.CDLL, logits: np.ndarray, k: int) -> None:
    ids, values = top_k(library, logits, k)
    numbers = np.where(np.isnan(logits), -np.inf, logits).astype(np.float32)
    expected = np.lexsort((np.arange(len(logits)), -numbers))[:k]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(values, numbers[expected])


def top_p(
    library: ctypes.CDLL, logits: np.ndarray, p: float, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    n = len(logits)
    source = Block(4 * n, logits.astype(np.float32).tobytes())
    ids, values = Block(4 * n), Block(4 * n)
    count = library.ox_top_p(
        *[ctypes.c_void_p(source.address), n, ctypes.c_float(temperature), ctypes.c_double(p)],
        *[ctypes.c_void_p(ids.address), ctypes.c_void_p(values.address)],
    )
    return (
        np.frombuffer(ids.content(), np.uint32)[:count],
        np.frombuffer(values.content(), np.float32)[:count],
    )


def assert_top_p(library: ctypes.CDLL, logits: np.ndarray, p: float, temperature: float) -> None:
    """The order is exact; the sum of the probabilities reaches p, and without the last does not."""
    ids, values = top_p(library, logits, p, temperature)
    numbers = np.where(np.isnan(logits), -np.inf, logits).astype(np.float32)
    order = np.lexsort((np.arange(len(logits)), -numbers))
    np.testing.assert_array_equal(ids, order[: len(ids)])
    np.testing.assert_array_equal(values, numbers[ids])
    if numbers.max() == -np.inf:
        assert len(ids) == 0
        return
    with np.errstate(invalid="ignore"):
        below = np.where(numbers == numbers.max(), 0.0, numbers.astype(np.float64) - numbers.max())
    weights = np.exp(below / np.float32(temperature))[order]
    reached = np.cumsum(weights) / weights.sum()
    # 1e-6: weights are float32
    assert reached[len(ids) - 1] >= p - 1e-6
    assert len(ids) == 1 or reached[len(ids) - 2] < p + 1e-6


def log_sum_exp(library: ctypes.CDLL, logits: np.ndarray, temperature: float) -> float:
    library.ox_logsumexp.restype = ctypes.c_float
    source = Block(4 * len(logits), logits.astype(np.float32).tobytes())
    return float(
        library.ox_logsumexp(
            ctypes.c_void_p(source.address), len(logits), ctypes.c_float(temperature)
        )
    )


def sample(library: ctypes.CDLL, logits: np.ndarray, temperature: float, u: float) -> int:
    source = Block(4 * len(logits), logits.astype(np.float32).tobytes())
    arguments = [len(logits), ctypes.c_float(temperature), ctypes.c_double(u)]
    return int(library.ox_sample(ctypes.c_void_p(source.address), *arguments))


def cumulative(logits: np.ndarray, temperature: float) -> np.ndarray:
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return np.cumsum(weights) / weights.sum()


@pytest.mark.parametrize("k", [1, 2, 40, 1000, 5000])
@pytest.mark.parametrize("order", ["random", "rising", "falling", "equal", "few values"])
def test_top_k_of_a_vocabulary(library: ctypes.CDLL, k: int, order: str) -> None:
    logits = np.random.default_rng(k).normal(0, 3, 50_003).astype(np.float32)
    if order == "rising":
        logits.sort()
    elif order == "falling":
        logits = np.sort(logits)[::-1]
    elif order == "equal":
        logits[:] = 1.5
    elif order == "few values":
        logits = np.rint(logits)
    assert_top_k(library, logits, k)


@given(
    logits=st.lists(
        st.one_of(
            st.floats(width=32),
            st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.0]),
        ),
        max_size=80,
    ),
    k=st.integers(0, 90),
)
@settings(max_examples=200, deadline=None)
def test_top_k_of_anything(logits: list[float], k: int) -> None:
    for isa in libraries():
        assert_top_k(load(isa), np.array(logits, np.float32), k)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9])
@pytest.mark.parametrize("width", [0.0, 0.01, 1.0, 3.0, 30.0, 1000.0])
def test_top_p_of_a_vocabulary(library: ctypes.CDLL, width: float, p: float) -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 1, 50_003) * width
    for temperature in (0.3, 1.0, 4.0):
        assert_top_p(library, logits.astype(np.float32), p, temperature)


@given(
    logits=st.lists(
        st.one_of(
            st.floats(-20, 20, width=32),
            st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.0, 1e30]),
        ),
        min_size=1,
        max_size=80,
    ),
    p=st.floats(0, 1, exclude_max=True),
    temperature=st.one_of(st.floats(0.05, 10), st.sampled_from([1e-30, 1e30])),
)
@settings(max_examples=300, deadline=None)
def test_top_p_of_anything(logits: list[float], p: float, temperature: float) -> None:
    for isa in libraries():
        assert_top_p(load(isa), np.array(logits, np.float32), p, temperature)


def test_top_k_finds_the_last_ones(library: ctypes.CDLL) -> None:
    """Every place in a group of sixteen, and after the last whole group."""
    for n in (64, 65, 79, 95):
        for place in range(n):
            logits = np.zeros(n, np.float32)
            logits[place] = 1.0
            ids, values = top_k(library, logits, 1)
            assert (ids[0], values[0]) == (place, 1.0)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 5.0])
@pytest.mark.parametrize("n", [1, 3, 17, 1000, VOCABULARY])
def test_log_sum_exp(library: ctypes.CDLL, n: int, temperature: float) -> None:
    logits = np.random.default_rng(n).normal(5, 4, n).astype(np.float32)
    scaled = logits.astype(np.float64) / np.float32(temperature)
    expected = scaled.max() + math.log(np.exp(scaled - scaled.max()).sum())
    assert log_sum_exp(library, logits, temperature) == pytest.approx(expected, rel=2e-7, abs=2e-7)


def test_log_sum_exp_of_extremes(library: ctypes.CDLL) -> None:
    for value in (-1e4, 0.0, 1e4, 1e30):
        logits = np.full(1000, value, np.float32)
        expected = float(np.float32(value)) + math.log(1000)
        assert log_sum_exp(library, logits, 1.0) == pytest.approx(expected, rel=1e-7)
    hidden = np.full(100, -np.inf, np.float32)
    hidden[70] = 3.25
    assert log_sum_exp(library, hidden, 1.0) == 3.25
    assert log_sum_exp(library, np.full(9, -np.inf, np.float32), 1.0) == -math.inf


@given(
    n=st.integers(1, 300),
    u=st.floats(0, 1, exclude_max=True),
    temperature=st.floats(0.05, 10),
    seed=st.integers(0, 99),
)
@settings(max_examples=200, deadline=None)
def test_sample(n: int, u: float, temperature: float, seed: int) -> None:
    """The id's share of the unit interval holds u, but for rounding."""
    logits = np.random.default_rng(seed).normal(0, 4, n).astype(np.float32)
    ends = np.concatenate([[0.0], cumulative(logits, float(np.float32(temperature)))])
    for isa in libraries():
        chosen = sample(load(isa), logits, temperature, u)
        assert ends[chosen] - 1e-6 <= u <= ends[chosen + 1] + 1e-6


def test_samples_have_the_softmax_distribution(library: ctypes.CDLL) -> None:
    logits = np.float32([0, 1, 2, -1, 3, 0.5])
    shares = np.diff(cumulative(logits, 1.3), prepend=0.0)
    counts = np.bincount(
        [sample(library, logits, 1.3, (i + 0.5) / 2000) for i in range(2000)], minlength=6
    )
    np.testing.assert_allclose(counts / 2000, shares, atol=1.01 / 2000)


def test_sample_never_takes_the_impossible(library: ctypes.CDLL) -> None:
    logits = np.full(50, -np.inf, np.float32)
    logits[[7, 31]] = 2.0
    chosen = {sample(library, logits, 1.0, u) for u in np.linspace(0, 1 - 1e-16, 101)}
    assert chosen == {7, 31}
    logits[40] = np.nan
    chosen = {sample(library, logits, 1.0, u) for u in np.linspace(0, 1 - 1e-16, 101)}
    assert chosen == {7, 31}


def test_sample_at_low_temperature_is_greedy(library: ctypes.CDLL) -> None:
    logits = np.random.default_rng(0).normal(0, 3, VOCABULARY).astype(np.float32)
    for u in (0.0, 0.5, 1 - 1e-12):
        assert sample(library, logits, 1e-4, u) == logits.argmax()


def test_infinite_logits_and_temperatures(library: ctypes.CDLL) -> None:
    logits = np.float32([1, np.inf, 3, np.inf, np.nan])
    assert {sample(library, logits, 1.0, u) for u in (0.0, 0.4, 0.6, 0.99)} == {1, 3}
    assert log_sum_exp(library, logits, 1.0) == math.inf
    logits = np.float32([1, 4, 3, 4])
    for temperature in (0.0, 1e-45, 1e-38):
        assert {sample(library, logits, temperature, u) for u in (0.0, 0.4, 0.6, 0.99)} == {1, 3}
    unknown = np.full(300, np.nan, np.float32)
    assert sample(library, unknown, 1.0, 0.5) in range(300)


def test_sample_at_the_end_of_the_interval(library: ctypes.CDLL) -> None:
    """u times the sum may round up to the sum."""
    for n in range(1, 700, 7):
        logits = np.random.default_rng(n).normal(0, 1, n + 3).astype(np.float32)
        logits[n:] = -np.inf
        for u in (1 - 2.0**-53, 1.0):
            assert 0.9 * n - 3 <= sample(library, logits, 1.0, u) < n
