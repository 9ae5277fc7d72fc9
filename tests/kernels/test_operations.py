"""The kernels' smaller operations against float64 NumPy, for every instruction set."""

from __future__ import annotations

import ctypes
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import libraries, load, random_weight, set_operand
from ops_driver import KernelPlan, Pool

from oxillama_web.backends.kernels import abi
from oxillama_web.plan.operations.elementwise import (
    GLU,
    XIELU,
    Activate,
    Add,
    AddBias,
    Clamp,
    Gating,
    Scale,
    SelectRows,
    Softcap,
)
from oxillama_web.plan.operations.embedding import Embed, PositionEmbed
from oxillama_web.plan.operations.norms import LayerNorm, RMSNorm
from oxillama_web.plan.operations.rope import Rope, RopeTable


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


def normal(*shape: int, size: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, shape).astype(np.float32)


def forward(plan: KernelPlan, library: ctypes.CDLL, n_tokens: int, **rest: object) -> None:
    assert plan.check(library) == 0
    assert plan.run(library, n_tokens, **rest) == 0  # type: ignore[arg-type]


def rms_norm(
    library: ctypes.CDLL,
    x: np.ndarray,
    weight: np.ndarray | None,
    group: int,
    eps: float,
    in_place: bool = False,
    pool: Pool | None = None,
) -> np.ndarray:
    plan = KernelPlan()
    src = plan.filled(x)
    dst = src if in_place else plan.buffer(*x.shape)
    tensor = -1 if weight is None else plan.vector(weight)
    plan.op(RMSNorm, src=src, dst=dst, weight=tensor, group=group, eps=eps)
    forward(plan, library, len(x), pool=pool)
    return plan.read(dst)


def expected_rms_norm(
    x: np.ndarray, weight: np.ndarray | float, group: int, eps: float
) -> np.ndarray:
    groups = x.astype(np.float64).reshape(len(x), -1, group)
    mean_square = np.mean(groups * groups, axis=-1, keepdims=True)
    return (groups / np.sqrt(mean_square + eps) * weight).reshape(x.shape)


@given(
    n_rows=st.integers(1, 5),
    n_groups=st.integers(1, 4),
    group=st.integers(1, 140),
    in_place=st.booleans(),
    weighted=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_rms_norm_of_any_shape(
    n_rows: int, n_groups: int, group: int, in_place: bool, weighted: bool
) -> None:
    x, weight = normal(n_rows, n_groups * group), normal(group, seed=1) if weighted else None
    for isa in libraries():
        y = rms_norm(load(isa), x, weight, group, 1e-5, in_place)
        expected = expected_rms_norm(x, 1.0 if weight is None else weight, group, 1e-5)
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e-4, 1e4, 1e17])
def test_rms_norm_of_any_size(library: ctypes.CDLL, size: float) -> None:
    """Also where the sum of squares is next to nothing beside eps, or near the largest number."""
    x = normal(3, 576, size=size)
    for eps in (1e-6, 1e-5):
        expected = expected_rms_norm(x, 1.0, 576, eps)
        np.testing.assert_allclose(rms_norm(library, x, None, 576, eps), expected, rtol=1e-6)


def test_rms_norm_takes_weights_at_any_address(library: ctypes.CDLL) -> None:
    x, weight = normal(2, 37), normal(37, seed=1)
    for offset in range(4):
        raw = ctypes.create_string_buffer(b"\0" * offset + weight.tobytes())
        plan = KernelPlan()
        src, dst = plan.filled(x), plan.buffer(2, 37)
        tensor = abi.Tensor(ctypes.addressof(raw) + offset, 4 * 37, 0, 0, 37, 1)
        index = plan.tensor(tensor)
        plan.op(RMSNorm, src=src, dst=dst, weight=index, group=37, eps=1e-5)
        forward(plan, library, 2)
        expected = expected_rms_norm(x, weight, 37, 1e-5)
        np.testing.assert_allclose(plan.read(dst), expected, rtol=1e-6)


def layer_norm(
    library: ctypes.CDLL,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    group: int,
    in_place: bool = False,
) -> np.ndarray:
    plan = KernelPlan()
    src = plan.filled(x)
    dst = src if in_place else plan.buffer(*x.shape)
    tensors = {"weight": plan.vector(weight), "bias": -1 if bias is None else plan.vector(bias)}
    plan.op(LayerNorm, src=src, dst=dst, **tensors, group=group, eps=1e-5)
    forward(plan, library, len(x))
    return plan.read(dst)


def expected_layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, group: int
) -> np.ndarray:
    groups = x.astype(np.float64).reshape(len(x), -1, group)
    centered = groups - groups.mean(axis=-1, keepdims=True)
    normed = centered / np.sqrt(np.mean(centered**2, axis=-1, keepdims=True) + 1e-5)
    repeated = normed.reshape(len(x), -1, weight.size) * weight
    return (repeated + (0 if bias is None else bias)).reshape(x.shape)


@given(
    n_rows=st.integers(1, 4),
    n_repeats=st.integers(1, 3),
    n_groups=st.integers(1, 3),
    group=st.integers(2, 100),
    in_place=st.booleans(),
    biased=st.booleans(),
    offset=st.sampled_from([0.0, 3.0, -50.0]),
)
@settings(max_examples=60, deadline=None)
def test_layer_norm_of_any_shape(
    n_rows: int, n_repeats: int, n_groups: int, group: int, in_place: bool, biased: bool,
    offset: float,
) -> None:  # fmt: skip
    """One weight for all groups, or several in turn; also where the mean is far from 0."""
    x = normal(n_rows, n_repeats * n_groups * group) + np.float32(offset)
    weight = normal(n_groups * group, seed=1)
    bias = normal(n_groups * group, seed=2) if biased else None
    for isa in libraries():
        y = layer_norm(load(isa), x, weight, bias, group, in_place)
        expected = expected_layer_norm(x, weight, bias, group)
        np.testing.assert_allclose(y, expected, rtol=2e-6, atol=3e-6 + 1e-6 * abs(offset))


def test_layer_norm_without_a_weight(library: ctypes.CDLL) -> None:
    x = normal(3, 60)
    plan = KernelPlan()
    src, dst = plan.filled(x), plan.buffer(3, 60)
    plan.op(LayerNorm, src=src, dst=dst, group=20, eps=1e-5)
    forward(plan, library, 3)
    expected = expected_layer_norm(x, np.ones(20), None, 20)
    np.testing.assert_allclose(plan.read(dst), expected, rtol=1e-5, atol=1e-6)


def test_layer_norm_of_equal_values_is_its_bias(library: ctypes.CDLL) -> None:
    x, bias = np.full((2, 64), 2.5, np.float32), normal(64)
    np.testing.assert_array_equal(layer_norm(library, x, np.ones(64), bias, 64), [bias, bias])


@pytest.mark.parametrize("name", ["F32", "F16", "Q8_0", "Q4_K"])
def test_position_embed(library: ctypes.CDLL, name: str) -> None:
    """The rows of an embedding of the same tensor."""
    weight = random_weight(name, 40, 256)
    plan = KernelPlan()
    tensor = plan.tensor(weight.struct())
    by_position, by_token = plan.buffer(6, 256), plan.buffer(6, 256)
    plan.op(PositionEmbed, dst=by_position, weight=tensor)
    plan.op(Embed, dst=by_token, weight=tensor, scale=1.0)
    forward(plan, library, 6, position=34, tokens=range(34, 40))
    np.testing.assert_array_equal(plan.read(by_position), plan.read(by_token))
    assert plan.read(by_position).any()


def rope_table(
    library: ctypes.CDLL,
    frequencies: np.ndarray,
    position: int,
    n_tokens: int,
    attention_factors: list[float],
    interval: int = 1,
) -> np.ndarray:
    plan = KernelPlan()
    dst = plan.buffer(n_tokens, 2 * len(frequencies))
    plan.op(
        RopeTable,
        dst=dst,
        frequencies=plan.constant(frequencies),
        attention_factors=plan.constant(attention_factors),
        interval=interval,
    )
    forward(plan, library, n_tokens, position=position)
    return plan.read(dst)


@pytest.mark.parametrize("position", [0, 1, 1000, 131_000, 999_990])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_rope_table(library: ctypes.CDLL, position: int, factor: float) -> None:
    """To the last bit but one of float32, for angles up to a million."""
    frequencies = (10000.0 ** (-np.arange(33) / 33)).astype(np.float32)
    table = rope_table(library, frequencies, position, 10, [factor])
    angles = (position + np.arange(10))[:, None] * frequencies.astype(np.float64)
    expected = factor * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(table, expected, rtol=2e-7, atol=2e-9 * factor)


def test_rope_table_with_attention_factors_of_intervals(library: ctypes.CDLL) -> None:
    """Three positions have one, the next three another, all after those the last."""
    table = rope_table(library, np.float32([0.0]), 1, 10, [1.0, 1.5, 2.0], interval=3)
    np.testing.assert_array_equal(table[:, 0], [1, 1, 1.5, 1.5, 1.5, 2, 2, 2, 2, 2])
    assert not table[:, 1].any()


def test_rope_table_at_every_part_of_the_circle(library: ctypes.CDLL) -> None:
    frequencies = np.linspace(-4, 4, 10_001).astype(np.float32)
    table = rope_table(library, frequencies, 1, 2, [1.0])
    for t in range(2):
        angles = (1 + t) * frequencies.astype(np.float64)
        np.testing.assert_allclose(table[t, :10_001], np.cos(angles), rtol=2e-7, atol=1e-9)
        np.testing.assert_allclose(table[t, 10_001:], np.sin(angles), rtol=2e-7, atol=1e-9)


@given(
    n_tokens=st.integers(1, 4),
    n_heads=st.integers(1, 5),
    half=st.integers(1, 50),
    rest=st.integers(0, 7),
    style=st.sampled_from([0, 1]),
)
@settings(max_examples=60, deadline=None)
def test_rope(n_tokens: int, n_heads: int, half: int, rest: int, style: int) -> None:
    head = 2 * half + rest
    x, angles = normal(n_tokens, n_heads * head), normal(n_tokens, half, size=3.0, seed=1)
    table = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    expected = x.astype(np.float64).reshape(n_tokens, n_heads, head)
    rotated = expected[..., : 2 * half]
    first = rotated[..., :half] if style else rotated[..., ::2]
    second = rotated[..., half:] if style else rotated[..., 1::2]
    cos, sin = table[:, None, :half], table[:, None, half:]
    first[:], second[:] = first * cos - second * sin, first * sin + second * cos
    for isa in libraries():
        plan = KernelPlan()
        buffer, table_buffer = plan.filled(x), plan.filled(table)
        rope = {"table": table_buffer, "head_dim": head, "n_rot": 2 * half, "style": style}
        plan.op(Rope, dst=buffer, **rope)
        forward(plan, load(isa), n_tokens)
        np.testing.assert_allclose(
            plan.read(buffer), expected.reshape(x.shape), rtol=1e-6, atol=5e-7
        )


def glu(library: ctypes.CDLL, gate: np.ndarray, up: np.ndarray, activation: int) -> np.ndarray:
    plan = KernelPlan()
    factors, dst = {"gate": plan.filled(gate), "up": plan.filled(up)}, plan.buffer(*gate.shape)
    plan.op(GLU, **factors, dst=dst, activation=activation)
    forward(plan, library, len(gate))
    return plan.read(dst)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("width", [1, 5, 16, 1536, 2047])
def test_silu(library: ctypes.CDLL, width: int) -> None:
    gate, up = normal(3, width, size=4.0), normal(3, width, seed=1)
    expected = silu(gate.astype(np.float64)) * up
    np.testing.assert_allclose(glu(library, gate, up, 0), expected, rtol=1e-6, atol=1e-30)


def test_clamped_swiglu(library: ctypes.CDLL) -> None:
    """Also beyond the limits of both."""
    gate, up = normal(3, 301, size=6.0), normal(3, 301, size=6.0, seed=1)
    g, u = np.minimum(gate.astype(np.float64), 7), np.clip(up.astype(np.float64), -7, 7)
    expected = g / (1 + np.exp(-1.702 * g)) * (u + 1)
    kind = get_args(Gating).index("clamped_swiglu")
    np.testing.assert_allclose(glu(library, gate, up, kind), expected, rtol=3e-6, atol=2e-7)


def test_silu_everywhere(library: ctypes.CDLL) -> None:
    gate = np.concatenate([np.linspace(-80, 200, 50_000), [0.0, -0.0, 1e-30, -1e-30, 3e38]]).astype(
        np.float32
    )[None]
    y = glu(library, gate, np.ones_like(gate), 0)
    np.testing.assert_allclose(y, silu(gate.astype(np.float64)), rtol=1e-6, atol=1e-36)
    far = np.float32([[-90, -1e4, -3e38, -np.inf]])
    y = glu(library, far[:, :3], np.ones((1, 3), np.float32), 0)
    assert (np.abs(y) < 1e-35).all()


@pytest.mark.parametrize("width", [1, 7, 2048])
def test_gelu(library: ctypes.CDLL, width: int) -> None:
    gate, up = normal(3, width, size=2.0), normal(3, width, seed=1)
    expected = gelu(gate.astype(np.float64)) * up
    np.testing.assert_allclose(glu(library, gate, up, 1), expected, rtol=2e-6, atol=1e-6)


def test_gelu_everywhere(library: ctypes.CDLL) -> None:
    gate = np.concatenate([np.linspace(-12, 12, 50_000), [0.0, -1e10, 3e12, 100]])
    gate = gate.astype(np.float32)[None]
    y = glu(library, gate, np.ones_like(gate), 1)
    np.testing.assert_allclose(y, gelu(gate.astype(np.float64)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [1, 7, 2048])
def test_other_activations(library: ctypes.CDLL, width: int) -> None:
    gate, up = normal(3, width, size=4.0), normal(3, width, seed=1)
    exact = gate.astype(np.float64)
    relu = np.maximum(exact, 0)
    for number, expected in ((2, relu), (3, relu**2), (4, 1 / (1 + np.exp(-exact)))):
        np.testing.assert_allclose(glu(library, gate, up, number), expected * up, rtol=1e-6)


@pytest.mark.parametrize("activation", range(5))
def test_glu_keeps_what_is_no_number(library: ctypes.CDLL, activation: int) -> None:
    gate, up = normal(2, 40), normal(2, 40, seed=1)
    clean = glu(library, gate, up, activation)
    gate[0, 3] = up[1, 39] = np.nan
    y = glu(library, gate, up, activation)
    assert np.isnan(y[0, 3]) and np.isnan(y[1, 39])
    np.testing.assert_array_equal(np.isnan(y).sum(), 2)
    np.testing.assert_array_equal(y[~np.isnan(y)], clean[~np.isnan(y)])


@given(n_rows=st.integers(1, 4), width=st.integers(1, 90), activation=st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_activate_is_a_glu_of_ones(n_rows: int, width: int, activation: int) -> None:
    x = normal(n_rows, width, size=3.0)
    for isa in libraries():
        plan = KernelPlan()
        src, out = plan.filled(x), plan.buffer(n_rows, width)
        plan.op(Activate, src=src, dst=out, activation=activation)
        forward(plan, load(isa), n_rows)
        expected = glu(load(isa), x, np.ones_like(x), activation)
        np.testing.assert_array_equal(plan.read(out), expected)


@given(n_rows=st.integers(1, 4), width=st.integers(1, 90))
@settings(max_examples=30, deadline=None)
def test_scale(n_rows: int, width: int) -> None:
    x = normal(n_rows, width)
    for isa in libraries():
        plan = KernelPlan()
        src, out = plan.filled(x), plan.buffer(n_rows, width)
        plan.op(Scale, src=src, dst=out, factor=0.3)
        forward(plan, load(isa), n_rows)
        np.testing.assert_array_equal(plan.read(out), np.float32(0.3) * x)


@given(n_rows=st.integers(1, 4), width=st.integers(1, 90), n_threads=st.sampled_from([1, 3]))
@settings(max_examples=30, deadline=None)
def test_add_bias(n_rows: int, width: int, n_threads: int) -> None:
    x, bias = normal(n_rows, width), normal(width, seed=1)
    for isa in libraries():
        plan = KernelPlan()
        src, out, vector = plan.filled(x), plan.buffer(n_rows, width), plan.vector(bias)
        plan.op(AddBias, src=src, dst=out, bias=vector)
        plan.op(AddBias, src=src, dst=src, bias=vector)
        with Pool(load(isa), n_threads) as pool:
            forward(plan, load(isa), n_rows, pool=pool)
        np.testing.assert_array_equal(plan.read(out), x + bias)
        np.testing.assert_array_equal(plan.read(src), x + bias)
        set_operand(plan.ops[0], AddBias, "bias", plan.vector(normal(width + 1)))
        assert plan.check(load(isa)) == 1


@given(n_rows=st.integers(1, 4), width=st.integers(1, 90), scale=st.sampled_from([1.0, -0.125]))
@settings(max_examples=30, deadline=None)
def test_add(n_rows: int, width: int, scale: float) -> None:
    a, b = normal(n_rows, width), normal(n_rows, width, seed=1)
    for isa in libraries():
        plan = KernelPlan()
        first, second = plan.filled(a), plan.filled(b)
        out = plan.buffer(n_rows, width)
        plan.op(Add, a=first, b=second, dst=out, scale=scale)
        plan.op(Add, a=first, b=out, dst=first, scale=1.0)
        forward(plan, load(isa), n_rows)
        # a power of two, so that the product is exact
        np.testing.assert_array_equal(plan.read(out), a + np.float32(scale) * b)
        np.testing.assert_array_equal(plan.read(first), a + plan.read(out))


@pytest.mark.parametrize("cap", [30.0, 1.0])
def test_softcap(library: ctypes.CDLL, cap: float) -> None:
    x = np.concatenate([np.linspace(-200, 200, 9001), np.linspace(-2, 2, 9000), [1e-20, 3e38]])
    x = x.astype(np.float32)[None] * np.float32(cap / 30)
    plan = KernelPlan()
    src, dst = plan.filled(x), plan.buffer(*x.shape)
    plan.op(Softcap, src=src, dst=dst, cap=cap)
    forward(plan, library, 1)
    expected = cap * np.tanh(x.astype(np.float64) / cap)
    np.testing.assert_allclose(plan.read(dst), expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("shape", [(1, 7), (3, 100)])
def test_clamp(library: ctypes.CDLL, shape: tuple[int, int]) -> None:
    x = normal(*shape, size=3.0)
    x[0, 0], x[-1, 1] = np.nan, np.inf
    plan = KernelPlan()
    src, dst = plan.filled(x), plan.buffer(*shape)
    plan.op(Clamp, src=src, dst=dst, limit=1.5)
    forward(plan, library, shape[0])
    np.testing.assert_array_equal(plan.read(dst), np.clip(x, np.float32(-1.5), np.float32(1.5)))


def test_xielu(library: ctypes.CDLL) -> None:
    x = np.concatenate([np.linspace(-60, 60, 20_000), [0.0, 1e-7, -1e-7]]).astype(np.float32)[None]
    plan = KernelPlan()
    src, dst = plan.filled(x), plan.buffer(*x.shape)
    plan.op(XIELU, src=src, dst=dst, positive=0.8, negative=1.3, linear=0.5)
    forward(plan, library, 1)
    exact = x.astype(np.float64)
    below = np.minimum(exact, 0)
    expected = np.where(exact > 0, 0.8 * exact**2, 1.3 * (np.expm1(below) - below)) + 0.5 * exact
    np.testing.assert_allclose(plan.read(dst), expected, rtol=2e-6, atol=2e-7)


def test_select_rows(library: ctypes.CDLL) -> None:
    x = normal(9, 33)
    for outputs in ([8], [0, 3, 8], list(range(9)), []):
        plan = KernelPlan()
        src, dst = plan.filled(x), plan.buffer(9, 33, "output")
        plan.op(SelectRows, src=src, dst=dst)
        forward(plan, library, 9, outputs=outputs)
        np.testing.assert_array_equal(plan.read(dst, len(outputs)), x[outputs])
        assert not plan.read(dst)[len(outputs) :].any()


def all_operations(n_tokens: int, width: int) -> tuple[KernelPlan, list[int]]:
    """Every operation of this file and the buffers they leave."""
    plan = KernelPlan()
    a, b = plan.filled(normal(n_tokens, width)), plan.filled(normal(n_tokens, width, seed=1))
    normed, product = plan.buffer(n_tokens, width), plan.buffer(n_tokens, width)
    table, selected = plan.buffer(n_tokens, 4), plan.buffer(n_tokens, width, "output")
    weight, frequencies = plan.vector(normal(width // 3)), plan.constant([1.0, 0.1])
    one = plan.constant([1.0])
    plan.op(RMSNorm, src=a, dst=normed, weight=weight, group=width // 3, eps=1e-5, barrier=0)
    plan.op(
        RopeTable,
        dst=table,
        frequencies=frequencies,
        attention_factors=one,
        interval=1,
        barrier=0,
    )
    plan.op(Rope, table=table, dst=normed, head_dim=width // 3, n_rot=4, style=1)
    plan.op(GLU, gate=normed, up=b, dst=product, activation=1)
    plan.op(Add, a=product, b=a, dst=a, scale=1.0)
    plan.op(SelectRows, src=a, dst=selected)
    plan.op(Softcap, src=selected, dst=selected, cap=5.0)
    plan.op(Scale, src=a, dst=a, factor=0.3)
    plan.op(LayerNorm, src=a, dst=normed, weight=weight, bias=weight, group=width // 3, eps=1e-5)
    plan.op(Activate, src=normed, dst=product, activation=1)
    return plan, [normed, product, table, selected]


@pytest.mark.parametrize("n_threads", [2, 3, 5])
@pytest.mark.parametrize("shape", [(1, 15), (2, 96), (7, 123)])
def test_threads_change_no_bit(
    library: ctypes.CDLL, shape: tuple[int, int], n_threads: int
) -> None:
    outputs = range(0, shape[0], 2)
    plan, results = all_operations(*shape)
    forward(plan, library, shape[0], position=5, outputs=outputs)
    expected = [plan.read(index).copy() for index in results]
    with Pool(library, n_threads) as pool:
        for _ in range(20):
            plan, results = all_operations(*shape)
            forward(plan, library, shape[0], position=5, outputs=outputs, pool=pool)
            for index, want in zip(results, expected, strict=True):
                np.testing.assert_array_equal(plan.read(index), want)
