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
    QUANTIZED_FORMATS,
    Block,
    Weight,
    libraries,
    load,
    pack,
    random_weight,
    run_linear,
    set_operand,
)
from ops_driver import KernelPlan, Pool

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.numpy import operations as numpy_operations
from oxillama_web.plan.operations.experts import (
    ExpertLinear,
    ExpertSum,
    ExpertWeighting,
    GatherExperts,
    SelectExperts,
)

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
    return numpy_operations.select_experts(logits, n_used, "softmax_of_used")


def gather(plan: KernelPlan, experts: Experts, src: int, routes: int) -> None:
    """What lowering puts before the products with some experts."""
    quantized = experts.struct().format in QUANTIZED_FORMATS.values()
    sizes = {"n_experts": len(experts.each), "n_in": experts.n_in, "quantized": int(quantized)}
    plan.op(GatherExperts, src=src, routes=routes, **sizes)


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
    biases = np.random.default_rng(n_out).normal(0, 1, (n_experts, n_out)).astype(np.float32)
    for n_tokens in (1, 3, 40):
        routes = routes_of(n_tokens, n_experts, n_used)
        for width in {256, 256 * n_used}:
            x = np.random.default_rng(width).normal(0, 1, (n_tokens, width)).astype(np.float32)
            plan = KernelPlan()
            src, route = plan.filled(x), plan.filled(routes)
            dst, biased = (plan.buffer(n_tokens, n_used * n_out) for _ in range(2))
            tensor, bias = plan.tensor(experts.struct()), plan.matrix(biases)
            gather(plan, experts, src, route)
            for to, added, barrier in ((dst, -1, EVERY_PASS), (biased, bias, 0)):
                plan.op(
                    ExpertLinear,
                    src=src,
                    routes=route,
                    dst=to,
                    weight=tensor,
                    bias=added,
                    n_experts=n_experts,
                    barrier=barrier,
                )
            assert plan.check(library) == 0
            with Pool(library, n_threads) as pool:
                assert plan.run(library, n_tokens, pool=pool) == 0
            expected = expected_linear(library, experts, x, routes)
            np.testing.assert_array_equal(plan.read(dst), expected)
            expected += biases[routes[:, :n_used].astype(int)].reshape(expected.shape)
            np.testing.assert_array_equal(plan.read(biased), expected)


def test_kinds_of_weights_in_turn(library: ctypes.CDLL) -> None:
    """Inputs are gathered anew where the next product takes them in another form."""
    n_tokens, routes = 20, routes_of(20, 4, 2)
    x = np.random.default_rng(0).normal(0, 1, (n_tokens, 64)).astype(np.float32)
    formats = ["Q8_0", "F16", "Q4_0", "Q4_0", "F32", "F32", "Q8_0"]
    kinds = [Experts(library, format, 4, 32, 64) for format in formats]
    plan = KernelPlan()
    src, route = plan.filled(x), plan.filled(routes)
    results = []
    gathered = None
    for experts in kinds:
        results.append(plan.buffer(n_tokens, 64))
        operands = {"weight": plan.tensor(experts.struct()), "n_experts": 4}
        quantized, barrier = experts.struct().format in QUANTIZED_FORMATS.values(), 0
        if quantized != gathered:
            gather(plan, experts, src, route)
            gathered, barrier = quantized, EVERY_PASS
        plan.op(ExpertLinear, src=src, routes=route, dst=results[-1], **operands, barrier=barrier)
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
    biases = np.random.default_rng(1).normal(0, 1, (4, 24)).astype(np.float32)
    for width in (32, 64):
        x = np.random.default_rng(width).normal(0, 1, (10, width)).astype(np.float32)
        expected = expected_linear(library, experts, x, routes)
        found = numpy_operations.expert_linear(x, routes, weight)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        found = numpy_operations.expert_linear(x, routes, weight, biases)
        expected += biases[routes[:, :2].astype(int)].reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def select(
    library: ctypes.CDLL,
    logits: np.ndarray,
    n_used: int,
    weighting: ExpertWeighting,
    *,
    bias: np.ndarray | None = None,
    scale: float = 1.0,
    n_groups: int = 1,
    n_groups_used: int = 1,
) -> np.ndarray:
    plan = KernelPlan()
    dst = plan.buffer(len(logits), 2 * n_used)
    plan.op(
        SelectExperts,
        src=plan.filled(logits),
        dst=dst,
        n_used=n_used,
        weighting=WEIGHTINGS.index(weighting),
        bias=-1 if bias is None else plan.vector(bias),
        scale=scale,
        n_groups=n_groups,
        n_groups_used=n_groups_used,
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
    if weighting == "sigmoid_of_used":
        used = used / (1 + used)
        total = np.maximum(used.sum(axis=1, keepdims=True), 2.0**-14)
    for isa in libraries():
        found = select(load(isa), logits, n_used, weighting)
        np.testing.assert_array_equal(found[:, :n_used], order[:, :n_used])
        np.testing.assert_allclose(found[:, n_used:], used / total, rtol=2e-6)
    found = numpy_operations.select_experts(logits, n_used, weighting)
    np.testing.assert_array_equal(found[:, :n_used], order[:, :n_used])
    np.testing.assert_allclose(found[:, n_used:], used / total, rtol=2e-6)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_selection_with_a_bias_in_groups(data: st.DataObject) -> None:
    """A bias and groups change which experts are used, and not what they weigh."""
    n_groups = data.draw(st.integers(1, 6))
    group = data.draw(st.integers(2, 9))
    n_groups_used = data.draw(st.integers(1, n_groups))
    n_used = data.draw(st.integers(1, n_groups_used * group))
    weighting = data.draw(st.sampled_from(WEIGHTINGS))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    logits = rng.normal(0, 2, (4, n_groups * group)).astype(np.float32)
    bias = rng.normal(0, 0.3, n_groups * group).astype(np.float32) if rng.random() < 0.7 else None
    softmax = np.exp(logits.astype(np.float64))
    sigmoid = 1 / (1 + 1 / softmax)
    softmax /= softmax.sum(axis=1, keepdims=True)
    probabilities = sigmoid if weighting.startswith("sigmoid") else softmax
    scores = probabilities + (0 if bias is None else bias)
    expected = []
    for row, of_row in zip(scores, probabilities, strict=True):
        pairs = [sum(sorted(part)[-2:]) for part in row.reshape(n_groups, group)]
        best = sorted(range(n_groups), key=lambda g: -pairs[g])[:n_groups_used]
        allowed = [e for e in range(len(row)) if e // group in best]
        used = sorted(allowed, key=lambda e: -row[e])[:n_used]
        total = of_row[used].sum() if weighting.endswith("of_used") else 1
        expected.append([*used, *(2.5 * of_row[used] / total)])
    options = {"scale": 2.5, "n_groups": n_groups, "n_groups_used": n_groups_used}
    rows = [
        select(load(isa), logits, n_used, weighting, bias=bias, **options) for isa in libraries()
    ]
    rows.append(numpy_operations.select_experts(logits, n_used, weighting, bias=bias, **options))
    for found in rows:
        np.testing.assert_allclose(found, expected, rtol=3e-6)


def test_groups_that_cannot_be(library: ctypes.CDLL) -> None:
    logits, bad = np.zeros((1, 6), np.float32), [(4, 1), (0, 1), (2, 0), (2, 3), (6, 2), (3, 1)]
    for n_groups, n_groups_used in bad:
        with pytest.raises(AssertionError):
            select(library, logits, 3, "sigmoid", n_groups=n_groups, n_groups_used=n_groups_used)


def test_logits_that_are_no_numbers_come_last(library: ctypes.CDLL) -> None:
    logits = np.array([[np.nan, 1, np.nan, -np.inf, 5], [np.nan] * 5], np.float32)
    for found in (
        select(library, logits, 5, "softmax_of_used"),
        numpy_operations.select_experts(logits, 5, "softmax_of_used"),
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
    src, route, tensor = plan.filled(x), plan.filled(routes), plan.tensor(experts.struct())
    gather(plan, experts, src, route)
    plan.op(ExpertLinear, src=src, routes=route, dst=dst, weight=tensor, n_experts=3)
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
    plan.op(ExpertSum, src=plan.filled(x), routes=plan.filled(routes), dst=dst)
    assert plan.check(library) == 0
    for n_threads in (1, 3):
        with Pool(library, n_threads) as pool:
            assert plan.run(library, 5, pool=pool) == 0
        np.testing.assert_allclose(plan.read(dst), expected, atol=1e-6)
    np.testing.assert_allclose(numpy_operations.expert_sum(x, routes), expected, atol=1e-6)


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
    plan.op(
        SelectExperts, src=LOGITS, dst=ROUTES, n_used=2, weighting=1, n_groups=1, n_groups_used=1
    )
    plan.op(GatherExperts, src=INPUT, routes=ROUTES, n_experts=6, n_in=32, quantized=1)
    plan.op(ExpertLinear, src=INPUT, routes=ROUTES, dst=GATE, weight=tensor, n_experts=6)
    plan.op(ExpertSum, src=GATE, routes=ROUTES, dst=SUM)
    return plan, weight


@pytest.mark.parametrize(
    ("op", "name", "value"),
    [
        *[(op, "dst", value) for op in (0, 2, 3) for value in (-1, 99, LAST, OTHER)],
        *[(op, "src", value) for op in range(4) for value in (-1, 99, LAST, ROUTES)],
        *[(op, "routes", value) for op in (1, 2, 3) for value in (-1, 99, LAST, OTHER)],
        *[(op, "routes", INPUT) for op in (2, 3)],
        *[(0, "n_used", value) for value in (0, -1, 1, 3, 7)],
        *[(0, "weighting", value) for value in (-1, 4)],
        *[(1, "n_experts", value) for value in (0, -1, 2**31 - 1)],
        *[(1, "n_in", value) for value in (0, -32, 31, 64)],
        *[(1, "quantized", value) for value in (-1, 2)],
        *[(2, "n_experts", value) for value in (0, -1, -6, 5, 3, 12, 2**31 - 1)],
        *[(2, "weight", value) for value in (-1, 1)],
        *[(2, "bias", value) for value in (0, 1)],
        (2, "dst", INPUT),
        (2, "dst", ROUTES),
        (3, "dst", GATE),
        (3, "dst", ROUTES),
    ],
)
def test_operations_that_do_not_fit(op: int, name: str, value: int) -> None:
    library = load("portable")
    plan, _weight = small_plan()
    assert plan.check(library) == 0
    set_operand(plan.ops[op], plan.operations[op], name, value)
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
