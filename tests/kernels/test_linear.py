"""The kernels' matrix products against NumPy, for every format and instruction set."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from gguf_files import FORMAT_BY_NAME
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import (
    FLOAT_FORMATS,
    QUANTIZED_FORMATS,
    Weight,
    libraries,
    load,
    put_scale,
    quantize_activations,
    random_weight,
    run_embed,
    run_linear,
)

from oxillama_web.backends.kernels import abi
from oxillama_web.gguf.types import FORMATS

ALL_FORMATS = [*FLOAT_FORMATS, *QUANTIZED_FORMATS]


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


def random_input(n_tokens: int, n_in: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (n_tokens, n_in)).astype(np.float32)


def assert_product(weight: Weight, x: np.ndarray, y: np.ndarray, bias: float = 0.0) -> None:
    """y must be what exact arithmetic gives for the rounded input, but for float32 sums."""
    rounded = x
    if weight.format in QUANTIZED_FORMATS.values():
        rounded = quantize_activations(x, refined=FORMATS[weight.format].block_size == 32)
    values = weight.values.astype(np.float64)
    expected = rounded.astype(np.float64) @ values.T + bias
    tolerance = 1e-6 * (np.abs(rounded) @ np.abs(values.T) + abs(bias)) + 1e-30
    worst = np.max(np.abs(y - expected) / tolerance)
    assert worst < 1, f"{worst:.1f} times the tolerance"


@pytest.mark.parametrize("name", ALL_FORMATS)
@pytest.mark.parametrize(("n_out", "n_in"), [(16, 256), (37, 512), (5, 256), (80, 768)])
def test_matches_numpy(library: ctypes.CDLL, name: str, n_out: int, n_in: int) -> None:
    weight = random_weight(name, n_out, n_in)
    bias = np.full(n_out, 0.25, np.float32)
    for n_tokens in (1, 2, 3, 4, 5, 8, 9, 15, 40):
        x = random_input(n_tokens, n_in)
        weight.packed = False
        assert_product(weight, x, run_linear(library, [weight], x, bias)[0], 0.25)
    row_major = {n: run_linear(library, [weight], random_input(n, n_in))[0] for n in (1, 3, 13)}
    weight.pack(library)
    for n_tokens, expected in row_major.items():
        y = run_linear(library, [weight], random_input(n_tokens, n_in))[0]
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "name", [name for name in QUANTIZED_FORMATS if FORMAT_BY_NAME[name].block_size == 32]
)
def test_rows_of_one_block(library: ctypes.CDLL, name: str) -> None:
    weight = random_weight(name, 33, 32)
    weight.pack(library)
    for n_tokens in (1, 4):
        x = random_input(n_tokens, 32)
        assert_product(weight, x, run_linear(library, [weight], x)[0])


@pytest.mark.parametrize("name", FLOAT_FORMATS)
@given(n_in=st.integers(1, 70), n_out=st.integers(1, 9), n_tokens=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_float_weights_of_any_width(name: str, n_in: int, n_out: int, n_tokens: int) -> None:
    for isa in libraries():
        weight = random_weight(name, n_out, n_in)
        x = random_input(n_tokens, n_in)
        assert_product(weight, x, run_linear(load(isa), [weight], x)[0])


@pytest.mark.parametrize("size", [1e-7, 2e-5, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("largest_input", [1.0, 1e5])
def test_float16_of_every_size(library: ctypes.CDLL, size: float, largest_input: float) -> None:
    """Subnormals, few or many; 2 and more; inputs that 2^112 would make infinite."""
    weight = random_weight("F16", 23, 333, scale=size)
    x = random_input(9, 333)
    x[:, 7] = largest_input
    many = run_linear(library, [weight], x)[0]
    assert_product(weight, x, many)
    for n_tokens in (1, 2, 3, 4):
        few = run_linear(library, [weight], x[:n_tokens])[0]
        np.testing.assert_array_equal(few, many[:n_tokens])


@pytest.mark.parametrize("place", [0, 17, 95, 99])
def test_float16_that_is_no_number(library: ctypes.CDLL, place: int) -> None:
    """Among weights of any place, in whole vectors and after them."""
    clean = random_weight("F16", 21, 100)
    halves = np.frombuffer(clean.content(), np.float16).reshape(21, 100).copy()
    halves[1, place], halves[6, place], halves[20, place] = np.inf, np.nan, -np.inf
    weight = Weight("F16", 21, 100, halves)
    for n_tokens in (1, 2, 3, 4, 7):
        x = np.abs(random_input(n_tokens, 100)) + np.float32(0.1)
        y = run_linear(library, [weight], x)[0]
        assert (y[:, 1] == np.inf).all() and (y[:, 20] == -np.inf).all()
        assert np.isnan(y[:, 6]).all()
        others = [row for row in range(21) if row not in (1, 6, 20)]
        np.testing.assert_array_equal(y[:, others], run_linear(library, [clean], x)[0][:, others])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_float16_with_poisoned_input(library: ctypes.CDLL, poison: float) -> None:
    weight = random_weight("F16", 20, 100)
    for n_tokens in (1, 4, 6):
        x = random_input(n_tokens, 100)
        clean = run_linear(library, [weight], x)[0]
        x[-1, 50] = poison
        y = run_linear(library, [weight], x)[0]
        assert not np.isfinite(y[-1]).any()
        np.testing.assert_array_equal(y[:-1], clean[:-1])


@pytest.mark.parametrize("name", ["Q4_1", "Q8_0", "Q4_K", "Q6_K", "F16"])
@pytest.mark.parametrize("n_tokens", [1, 2, 19])
def test_threads_change_no_bit(library: ctypes.CDLL, name: str, n_tokens: int) -> None:
    weight = random_weight(name, 150, 256)
    weight.pack(library)
    x = random_input(n_tokens, 256)
    expected = run_linear(library, [weight], x)[0]
    for n_threads in (2, 3):
        y = run_linear(library, [weight], x, n_threads=n_threads)[0]
        np.testing.assert_array_equal(y, expected)


def test_consecutive_products_share_their_input(library: ctypes.CDLL) -> None:
    """Also with a float weight between them, which leaves no quantized input behind."""
    names = ["Q4_1", "Q8_0", "F32", "Q5_0", "Q4_K"]
    weights = [random_weight(name, 48 + i, 256, seed=i) for i, name in enumerate(names)]
    for n_tokens in (1, 6):
        x = random_input(n_tokens, 256)
        for n_threads in (1, 2):
            for weight, y in zip(
                weights, run_linear(library, weights, x, n_threads=n_threads), strict=True
            ):
                assert_product(weight, x, y)


@pytest.mark.parametrize("name", QUANTIZED_FORMATS)
def test_extreme_inputs(library: ctypes.CDLL, name: str) -> None:
    weight = random_weight(name, 16, 256)
    x = np.zeros((7, 256), np.float32)
    x[1] = 3e38  # the largest sums
    x[1, ::2] *= -1
    x[2, 5] = 1e30  # one value hides all others of its block
    x[3] = 1e-42  # subnormal: becomes zero
    x[4] = -1.0
    x[5] = random_input(1, 256)[0] * 1e-20
    x[6, :32] = 127.0
    assert not run_linear(library, [weight], x)[0][[0, 3]].any()
    usable = x[[0, 2, 4, 5, 6]]
    assert_product(weight, usable, run_linear(library, [weight], usable)[0])
    assert np.isfinite(run_linear(library, [weight], x * np.float32(1e-3))[0]).all()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_poisoned_input_stays_in_its_row(library: ctypes.CDLL, poison: float) -> None:
    weight = random_weight("Q4_1", 32, 256)
    x = random_input(5, 256)
    clean = run_linear(library, [weight], x)[0]
    x[2, 100] = poison
    y = run_linear(library, [weight], x)[0]
    assert np.isnan(y[2]).all()
    np.testing.assert_array_equal(np.delete(y, 2, 0), np.delete(clean, 2, 0))


@pytest.mark.parametrize("name", QUANTIZED_FORMATS)
@pytest.mark.parametrize("size", [1e-7, 3e-5, 3e4])
def test_scales_of_every_size(library: ctypes.CDLL, name: str, size: float) -> None:
    """Float16 subnormals and the largest numbers."""
    weight = random_weight(name, 32, 256, scale=size)
    for n_tokens in (1, 5):
        x = random_input(n_tokens, 256)
        assert_product(weight, x, run_linear(library, [weight], x)[0])


@pytest.mark.parametrize("name", QUANTIZED_FORMATS)
def test_random_bits_are_safe(library: ctypes.CDLL, name: str) -> None:
    """Scales that are infinite or no number make such results in their own row only."""
    rng = np.random.default_rng(3)
    weight = random_weight(name, 32, 512)
    data = np.frombuffer(weight.content(), np.uint8).reshape(32, -1).copy()
    data[::2] = rng.integers(0, 256, data[::2].shape, dtype=np.uint8)
    has_nan = name not in ("MXFP4", "NVFP4")
    if has_nan:
        put_scale(data[4:5], name, np.array([np.nan]))
    with np.errstate(all="ignore"):
        hostile = Weight(name, 32, 512, data)
    for n_tokens in (1, 5):
        x = random_input(n_tokens, 512)
        y = run_linear(library, [hostile], x)[0]
        assert not has_nan or np.isnan(y[:, 4]).all()
        np.testing.assert_array_equal(y[:, 1::2], run_linear(library, [weight], x)[0][:, 1::2])


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_embedding_rows(library: ctypes.CDLL, name: str) -> None:
    weight = random_weight(name, 37, 512)
    tokens = [0, 36, 5, 5, 31, 32]
    expected = weight.values[tokens] * np.float32(1.5)
    row_major = run_embed(library, weight, tokens, 1.5)
    # one more rounding than in ggml's order of operations
    np.testing.assert_allclose(row_major, expected, rtol=3e-7, atol=1e-7)
    weight.pack(library)
    np.testing.assert_array_equal(run_embed(library, weight, tokens, 1.5), row_major)


@pytest.mark.parametrize(
    "change",
    [
        {"bytes": 0},
        {"bytes": 16 * 160 + 1},
        {"n_in": 255},
        {"n_in": 0},
        {"n_out": 0},
        {"n_out": 17},
        {"n_in": 0xFFFFFFE0, "n_out": 0xFFFFFFFF},
        {"format": 9999},
        {"format": 4},
        {"packed": 2},
    ],
)
def test_impossible_weights_are_refused(library: ctypes.CDLL, change: dict[str, int]) -> None:
    weight = random_weight("Q4_1", 16, 256)
    tensor = weight.struct()
    for member, value in change.items():
        setattr(tensor, member, value)
    scratch = ctypes.create_string_buffer(1 << 16)
    assert library.ox_pack(ctypes.byref(tensor), 0, 1, scratch, ctypes.c_uint64(1 << 16)) != 0


def test_supported_formats(library: ctypes.CDLL) -> None:
    numbers = {*FLOAT_FORMATS.values(), *QUANTIZED_FORMATS.values()}
    assert {n for n in range(256) if library.ox_format_supported(n)} == numbers
    assert abi.PANEL_ROWS == 16
