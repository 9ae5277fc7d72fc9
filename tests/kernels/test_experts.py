"""Mixtures of experts: the kernels against plain products, and NumPy."""

from __future__ import annotations

import ctypes
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import (
    EVERY_PASS,
    Block,
    Weight,
    libraries,
    load,
    pack,
    random_weight,
    run_linear,
)
from ops_driver import KernelPlan, Pool

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.numpy import experts as numpy_experts
from oxillama_web.plan.operations import ExpertWeighting

BAD_MODEL = 1
WEIGHTINGS: tuple[ExpertWeighting, ...] = get_args(ExpertWeighting)


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


class Experts:
    """Matrices of experts that lie one after the other, each packed on its own."""

    def __init__(self, library: ctypes.CDLL, format: str, n: int, n_out: int, n_in: int) -> None:
        self.each = [random_weight(format, n_out, n_in, seed=n_in + i) for i in range(n)]
        self.n_out, self.n_in, self._format = n_out, n_in, self.each[0].format
        for weight in self.each:
            weight.pack(library)
        content = b"".join(weight.content() for weight in self.each)
        self._memory = Block(len(content) + 1, b"\0" + content)

    def struct(self) -> abi.Tensor:
        address, n_bytes = self._memory.address + 1, self._memory.n_bytes - 1
        n_rows = len(self.each) * self.n_out
        return abi.Tensor(address, n_bytes, self._format, 1, self.n_in, n_rows)


def routes_of(n_tokens: int, n_experts: int, n_used: int, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 1, (n_tokens, n_experts)).astype(np.float32)
    return numpy_experts.select_experts(logits, n_used, "softmax_of_used")


def expected_linear(
    library: ctypes.CDLL, experts: Experts, x: np.ndarray, routes: np.ndarray
) -> np.ndarray:
    """Each token with each of its experts, one at a time."""
    n_used = routes.shape[1] // 2
    inputs = x.reshape(len(x), -1, experts.n_in)
    rows = []
    for t, k in np.ndindex(len(x), n_used):
        weight = experts.each[int(routes[t, k])]
        [row] = run_linear(library, [weight], inputs[t, min(k, inputs.shape[1] - 1)][None])
        rows.append(row)
    return np.concatenate(rows).reshape(len(x), -1)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("format", ["Q8_0", "Q4_0", "Q5_1", "Q4_K", "Q6_K", "F32", "F16", "BF16"])
@pytest.mark.parametrize(("n_out", "n_experts", "n_used"), [(48, 5, 2), (37, 3, 3), (9, 4, 1)])
def test_each_token_meets_its_experts(
    library: ctypes.CDLL, n_out: int, n_experts: int, n_used: int, format: str, n_threads: int
) -> None:
    """The bits are those of a product alone, one input a token or one an expert."""
    experts = Experts(library, format, n_experts, n_out, 256)
    for n_tokens in (1, 3, 40):
        routes = routes_of(n_tokens, n_experts, n_used)
        for width in {256, 256 * n_used}:
            x = np.random.default_rng(width).normal(0, 1, (n_tokens, width)).astype(np.float32)
            plan = KernelPlan()
            src, route = plan.filled(x), plan.filled(routes)
            dst, again = (plan.buffer(n_tokens, n_used * n_out) for _ in range(2))
            tensor = plan.tensor(experts.struct())
            for to, barrier in ((dst, EVERY_PASS), (again, 0)):
                plan.op(
                    abi.EXPERT_LINEAR,
                    src=(src, route),
                    dst=to,
                    tensor=(tensor,),
                    i=(n_experts,),
                    barrier=barrier,
                )
            assert plan.check(library) == 0
            with Pool(library, n_threads) as pool:
                assert plan.run(library, n_tokens, pool=pool) == 0
            expected = expected_linear(library, experts, x, routes)
            np.testing.assert_array_equal(plan.read(dst), expected)
            np.testing.assert_array_equal(plan.read(again), expected)


def test_kinds_of_weights_in_turn(library: ctypes.CDLL) -> None:
    """A product finds its inputs as it needs them, whatever the one before it has left."""
    n_tokens, routes = 20, routes_of(20, 4, 2)
    x = np.random.default_rng(0).normal(0, 1, (n_tokens, 64)).astype(np.float32)
    formats = ["Q8_0", "F16", "Q4_0", "Q4_0", "F32", "F32", "Q8_0"]
    kinds = [Experts(library, format, 4, 32, 64) for format in formats]
    plan = KernelPlan()
    src, route = plan.filled(x), plan.filled(routes)
    results = []
    for experts in kinds:
        results.append(plan.buffer(n_tokens, 64))
        tensor = plan.tensor(experts.struct())
        plan.op(
            abi.EXPERT_LINEAR,
            src=(src, route),
            dst=results[-1],
            tensor=(tensor,),
            i=(4,),
            barrier=0,
        )
    assert plan.check(library) == 0
    for n_threads in (1, 3):
        with Pool(library, n_threads) as pool:
            assert plan.run(library, n_tokens, pool=pool) == 0
        for experts, result in zip(kinds, results, strict=True):
            expected = expected_linear(library, experts, x, routes)
            np.testing.assert_array_equal(plan.read(result), expected)


def test_numpy_multiplies_the_same(library: ctypes.CDLL) -> None:
    experts = Experts(library, "F32", 4, 24, 32)
    routes = routes_of(10, 4, 2)
    weight = np.stack([one.values for one in experts.each])
    for width in (32, 64):
        x = np.random.default_rng(width).normal(0, 1, (10, width)).astype(np.float32)
        expected = expected_linear(library, experts, x, routes)
        found = numpy_experts.expert_linear(x, routes, weight)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def select(
    library: ctypes.CDLL, logits: np.ndarray, n_used: int, weighting: ExpertWeighting
) -> np.ndarray:
    plan = KernelPlan()
    dst = plan.buffer(len(logits), 2 * n_used)
    plan.op(
        abi.SELECT_EXPERTS,
        src=(plan.filled(logits),),
        dst=dst,
        i=(n_used, WEIGHTINGS.index(weighting)),
    )
    assert plan.check(library) == 0
    assert plan.run(library, len(logits)) == 0
    return plan.read(dst)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_selection(data: st.DataObject) -> None:
    """Largest first, equal ones by number; weights are a softmax or sigmoids."""
    n_experts = data.draw(st.integers(1, 130))
    n_used = data.draw(st.integers(1, min(n_experts, 9)))
    weighting = data.draw(st.sampled_from(WEIGHTINGS))
    seed, step = data.draw(st.integers(0, 1000)), data.draw(st.sampled_from([0.5, 1e-6]))
    values = np.random.default_rng(seed).normal(0, 3, (3, n_experts))
    logits = (np.rint(values / step) * step).astype(np.float32)
    order = np.lexsort((np.broadcast_to(np.arange(n_experts), logits.shape), -logits))
    exponentials = np.exp(logits.astype(np.float64))
    used = np.take_along_axis(exponentials, order[:, :n_used], axis=1)
    among = exponentials if weighting == "softmax_of_all" else used
    total = 1 + used if weighting == "sigmoid" else among.sum(axis=1, keepdims=True)
    for isa in libraries():
        found = select(load(isa), logits, n_used, weighting)
        np.testing.assert_array_equal(found[:, :n_used], order[:, :n_used])
        np.testing.assert_allclose(found[:, n_used:], used / total, rtol=2e-6)
    found = numpy_experts.select_experts(logits, n_used, weighting)
    np.testing.assert_array_equal(found[:, :n_used], order[:, :n_used])
    np.testing.assert_allclose(found[:, n_used:], used / total, rtol=2e-6)


def test_logits_that_are_no_numbers_come_last(library: ctypes.CDLL) -> None:
    logits = np.array([[np.nan, 1, np.nan, -np.inf, 5], [np.nan] * 5], np.float32)
    for found in (
        select(library, logits, 5, "softmax_of_used"),
        numpy_experts.select_experts(logits, 5, "softmax_of_used"),
    ):
        np.testing.assert_array_equal(found[:, :5], [[4, 1, 3, 0, 2], [0, 1, 2, 3, 4]])


def test_numbers_of_experts_that_there_are_not(library: ctypes.CDLL) -> None:
    """Whatever stands in the buffer of routes, no memory outside of the weights is read."""
    experts = Experts(library, "Q8_0", 3, 16, 32)
    numbers = [-1, 3, np.nan, np.inf, -np.inf, 2.0**40, -0.0, 2.9]
    routes = np.array([[number, 1.0] for number in numbers], np.float32)
    x = np.ones((len(numbers), 32), np.float32)
    plan = KernelPlan()
    dst = plan.buffer(len(numbers), 16)
    source = (plan.filled(x), plan.filled(routes))
    tensor = (plan.tensor(experts.struct()),)
    plan.op(abi.EXPERT_LINEAR, src=source, dst=dst, tensor=tensor, i=(3,))
    assert plan.check(library) == 0
    assert plan.run(library, len(numbers)) == 0
    first, last = (run_linear(library, [w], x[:1])[0][0] for w in experts.each[::2])
    np.testing.assert_array_equal(plan.read(dst), [first] * 7 + [last])


@pytest.mark.parametrize("width", [1, 7, 16, 100])
def test_sum(library: ctypes.CDLL, width: int) -> None:
    rng = np.random.default_rng(width)
    x = rng.normal(0, 1, (5, 3 * width)).astype(np.float32)
    routes = routes_of(5, 8, 3)
    expected = (x.astype(np.float64).reshape(5, 3, width) * routes[:, 3:, None]).sum(axis=1)
    plan = KernelPlan()
    dst = plan.buffer(5, width)
    plan.op(abi.EXPERT_SUM, src=(plan.filled(x), plan.filled(routes)), dst=dst)
    assert plan.check(library) == 0
    for n_threads in (1, 3):
        with Pool(library, n_threads) as pool:
            assert plan.run(library, 5, pool=pool) == 0
        np.testing.assert_allclose(plan.read(dst), expected, atol=1e-6)
    np.testing.assert_allclose(numpy_experts.expert_sum(x, routes), expected, atol=1e-6)


# buffers: logits of 6 experts, routes of 2 a token, inputs, gate, output, output rows, other width
LOGITS, ROUTES, INPUT, GATE, SUM, LAST, OTHER = range(7)


def small_plan() -> tuple[KernelPlan, Weight]:
    plan = KernelPlan()
    for width in (6, 4, 32, 48, 24):
        plan.buffer(3, width)
    plan.buffer(3, 24, "output")
    plan.buffer(3, 5)
    weight = random_weight("Q8_0", 6 * 24, 32)
    tensor = plan.tensor(weight.struct())
    plan.op(abi.SELECT_EXPERTS, src=(LOGITS,), dst=ROUTES, i=(2, 1))
    plan.op(abi.EXPERT_LINEAR, src=(INPUT, ROUTES), dst=GATE, tensor=(tensor,), i=(6,))
    plan.op(abi.EXPERT_SUM, src=(GATE, ROUTES), dst=SUM)
    return plan, weight


@pytest.mark.parametrize(
    ("op", "member", "place", "value"),
    [
        *[(op, "dst", None, value) for op in range(3) for value in (-1, 99, LAST, OTHER)],
        *[(op, "src", 0, value) for op in range(3) for value in (-1, 99, LAST, ROUTES)],
        *[(op, "src", 1, value) for op in (1, 2) for value in (-1, 99, LAST, OTHER, INPUT)],
        *[(0, "i", 0, value) for value in (0, -1, 1, 3, 7)],
        *[(0, "i", 1, value) for value in (-1, 3)],
        *[(1, "i", 0, value) for value in (0, -1, -6, 5, 3, 12, 2**31 - 1)],
        *[(1, "tensor", 0, value) for value in (-1, 1)],
        (1, "dst", None, INPUT),
        (1, "dst", None, ROUTES),
        (2, "dst", None, GATE),
        (2, "dst", None, ROUTES),
    ],
)
def test_operations_that_do_not_fit(op: int, member: str, place: int | None, value: int) -> None:
    library = load("portable")
    plan, _weight = small_plan()
    assert plan.check(library) == 0
    if place is None:
        setattr(plan.ops[op], member, value)
    else:
        getattr(plan.ops[op], member)[place] = value
    assert plan.check(library) == BAD_MODEL | op << 8


def test_scratch_that_does_not_fit() -> None:
    library = load("portable")
    plan, _weight = small_plan()
    assert plan.check(library) == 0
    assert plan.run(library, 3) == 0
    assert plan.run(library, 3, missing_scratch=1) == 5


def test_a_matrix_is_packed_on_its_own(library: ctypes.CDLL) -> None:
    """Experts of 24 rows: a panel of 16 and eight rows as they were."""
    weight = random_weight("Q8_0", 24, 32)
    before = weight.content()
    assert pack(library, weight.struct(), 0, 1) == 0
    assert weight.content()[: 16 * 34] != before[: 16 * 34]
    assert weight.content()[16 * 34 :] == before[16 * 34 :]
