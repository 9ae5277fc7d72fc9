"""The kernels' attention and cache against float64 NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import libraries, load
from ops_driver import F16, F32, Q8_0, KernelPlan, Pool

from oxillama_web.backends.numpy.operations import attention
from oxillama_web.plan.operations.attention import Attention, KVStore


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


class Case:
    """A layer's queries, keys and values for a number of positions, and the plan that uses them."""

    def __init__(
        self,
        n_tokens: int,
        *,
        n_heads: int = 1,
        n_kv_heads: int = 1,
        k_dim: int = 16,
        v_dim: int | None = None,
        window: int = 0,
        softcap: float = 0.0,
        scale: float | None = None,
        kv_format: int = F32,
        page_tokens: int = 64,
        size: float = 1.0,
        causal: bool = True,
        slopes: tuple[float, ...] = (),
        sinks: bool = False,
        buckets: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        v_dim = v_dim or k_dim
        self.n_heads, self.n_kv_heads, self.k_dim, self.v_dim = n_heads, n_kv_heads, k_dim, v_dim
        self.window, self.softcap, self.causal = window, softcap, causal
        self.slopes = slopes
        self.scale = np.float32(scale or k_dim**-0.5)
        self.kv_format, self.page_tokens = kv_format, page_tokens
        shape = (n_tokens, n_heads, k_dim)
        self.q = rng.normal(0, size, shape).astype(np.float32)
        self.k = rng.normal(0, 1, (n_tokens, n_kv_heads, k_dim)).astype(np.float32)
        self.v = rng.normal(0, 1, (n_tokens, n_kv_heads, v_dim)).astype(np.float32)
        self.buckets = np.array(buckets, np.int64)
        self.bias = rng.normal(0, 2, (max(buckets, default=0) + 1, n_heads)).astype(np.float32)
        self.sinks = rng.normal(1, 2, n_heads).astype(np.float32) if sinks else None
        if kv_format == F16:
            # as the cache holds them: nothing subnormal
            for array in (self.k, self.v):
                array[:] = array.astype(np.float16)
                array[np.abs(array) < 2.0**-14] = 0
        if kv_format == Q8_0:
            for array in (self.k, self.v):
                integers, scales = quantize_cached(array)
                array[:] = integers * scales.astype(np.float32)

    @cached_property
    def expected(self) -> np.ndarray:
        """[n_tokens, n_heads * v_dim] in float64."""
        n_tokens, group = len(self.q), self.n_heads // self.n_kv_heads
        keys = np.repeat(self.k.astype(np.float64), group, axis=1)
        values = np.repeat(self.v.astype(np.float64), group, axis=1)
        scores = np.einsum("thd,shd->hts", self.q.astype(np.float64) * self.scale, keys)
        if self.softcap:
            scores = self.softcap * np.tanh(scores / self.softcap)
        behind = np.arange(n_tokens)[:, None] - np.arange(n_tokens)[None, :]
        if self.slopes:
            scores -= np.array(self.slopes, np.float32)[:, None, None] * np.abs(behind)
        if len(self.buckets):
            farthest = len(self.buckets) // 2
            ahead = np.clip(-behind, -farthest, farthest) + farthest
            scores += self.bias[self.buckets[ahead]].transpose(2, 0, 1)
        if self.causal:
            visible = (behind >= 0) & (behind < (self.window or n_tokens))
        else:
            visible = np.abs(behind) <= (self.window // 2 if self.window else n_tokens)
        scores = np.where(visible, scores, -np.inf)
        if self.sinks is not None:
            # a key more, whose value is 0
            sinks = np.broadcast_to(self.sinks[:, None, None], (self.n_heads, n_tokens, 1))
            scores = np.concatenate([scores, sinks], axis=-1)
            values = np.concatenate([values, np.zeros((1, *values.shape[1:]))])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.einsum("hts,shd->thd", weights, values).reshape(n_tokens, -1)

    def run(
        self, library: ctypes.CDLL, chunks: list[int] | None = None, pool: Pool | None = None
    ) -> np.ndarray:
        """Runs the tokens in batches of the given sizes."""
        chunks = chunks or [len(self.q)]
        plan = KernelPlan(self.page_tokens, self.kv_format)
        layer = plan.layer(self.n_kv_heads, self.k_dim, self.v_dim)
        capacity = max(chunks)
        q = plan.buffer(capacity, self.n_heads * self.k_dim)
        k = plan.buffer(capacity, self.n_kv_heads * self.k_dim)
        v = plan.buffer(capacity, self.n_kv_heads * self.v_dim)
        out = plan.buffer(capacity, self.n_heads * self.v_dim)
        plan.op(KVStore, keys=k, values=v, layer=layer)
        plan.op(
            Attention,
            queries=q,
            dst=out,
            layer=layer,
            n_heads=self.n_heads,
            window=self.window,
            causal=int(self.causal),
            scale=self.scale,
            softcap=self.softcap,
            slopes=plan.constant(self.slopes) if self.slopes else -1,
            sinks=-1 if self.sinks is None else plan.vector(self.sinks),
            buckets=plan.constant(self.buckets) if len(self.buckets) else -1,
            position_bias=plan.vector(self.bias.ravel()) if len(self.buckets) else -1,
        )
        assert plan.check(library) == 0
        results, position = [], 0
        for n in chunks:
            for index, values in ((q, self.q), (k, self.k), (v, self.v)):
                plan.write(index, values[position : position + n].reshape(n, -1))
            assert plan.run(library, n, position, pool=pool) == 0
            results.append(plan.read(out, n).copy())
            position += n
        return np.concatenate(results)


def quantize_cached(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers of the last axis' values as the Q8_0 cache holds them, and for each its scale."""
    dim = x.shape[-1]
    blocks = np.zeros((*x.shape[:-1], -(-dim // 32) * 32), np.float32)
    blocks[..., :dim] = x
    blocks = blocks.reshape(*x.shape[:-1], -1, 32)
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    integers = np.rint(blocks * (np.float32(127) / largest)).astype(np.int8)
    scales = np.broadcast_to((largest / np.float32(127)).astype(np.float16), blocks.shape)
    return [a.reshape(*x.shape[:-1], -1)[..., :dim] for a in (integers, scales)]


def assert_attention(case: Case, result: np.ndarray, tolerance: float = 2e-6) -> None:
    worst = np.abs(result - case.expected).max() / np.abs(case.v).max()
    assert worst < tolerance


@pytest.mark.parametrize("kv_format", [F32, F16, Q8_0])
@pytest.mark.parametrize(
    "shape",
    [
        {"n_heads": 9, "n_kv_heads": 3, "k_dim": 64},
        {"n_heads": 4, "n_kv_heads": 1, "k_dim": 256},
        {"n_heads": 2, "n_kv_heads": 2, "k_dim": 80},
        {"n_heads": 14, "n_kv_heads": 2, "k_dim": 96},
        {"n_heads": 5, "n_kv_heads": 1, "k_dim": 100, "v_dim": 36},
        {"n_heads": 2, "n_kv_heads": 1, "k_dim": 3, "v_dim": 7},
        {"n_heads": 1, "n_kv_heads": 1, "k_dim": 1, "v_dim": 1},
    ],
    ids=str,
)
def test_prefill_and_decode(library: ctypes.CDLL, shape: dict[str, int], kv_format: int) -> None:
    case = Case(150, kv_format=kv_format, **shape)
    assert_attention(case, case.run(library))
    assert_attention(case, case.run(library, [130] + [1] * 20))
    assert_attention(case, case.run(library, [1, 2, 3, 4, 5, 6, 7, 50, 72]))


@pytest.mark.parametrize("page_tokens", [64, 256])
@pytest.mark.parametrize("window", [1, 2, 63, 64, 65, 100, 128, 1000])
def test_window(library: ctypes.CDLL, window: int, page_tokens: int) -> None:
    case = Case(
        300, n_heads=6, n_kv_heads=2, k_dim=20, window=window, page_tokens=page_tokens, seed=window
    )
    assert_attention(case, case.run(library))
    assert_attention(case, case.run(library, [63, 1, 1, 64, 2, 60, 109]))
    assert_attention(case, case.run(library, [256] + [1] * 44))


@pytest.mark.parametrize("kv_format", [F32, F16, Q8_0])
@pytest.mark.parametrize("n_tokens", [1, 2, 63, 64, 65, 257, 330])
def test_every_token_sees_all(library: ctypes.CDLL, n_tokens: int, kv_format: int) -> None:
    case = Case(
        n_tokens, n_heads=6, n_kv_heads=2, k_dim=20, causal=False, kv_format=kv_format, softcap=9.0
    )
    result = case.run(library)
    assert_attention(case, result, 4e-6)
    with Pool(library, 3) as pool:
        np.testing.assert_array_equal(case.run(library, pool=pool), result)


@pytest.mark.parametrize("window", [1, 2, 64, 65, 200, 1000])
@pytest.mark.parametrize("n_tokens", [1, 65, 330])
def test_every_token_sees_what_is_near(library: ctypes.CDLL, n_tokens: int, window: int) -> None:
    case = Case(n_tokens, n_heads=6, n_kv_heads=2, k_dim=20, causal=False, window=window)
    result = case.run(library)
    assert_attention(case, result, 4e-6)
    op = Attention("", "", 0, 6, float(case.scale), window, 0.0, causal=False, sinks=None)
    assert_attention(case, attention(case.q.reshape(n_tokens, -1), case.k, case.v, op))
    with Pool(library, 3) as pool:
        np.testing.assert_array_equal(case.run(library, pool=pool), result)


@pytest.mark.parametrize("window", [0, 70])
def test_sinks(library: ctypes.CDLL, window: int) -> None:
    case = Case(330, n_heads=6, n_kv_heads=2, k_dim=20, sinks=True, window=window, softcap=9.0)
    result = case.run(library)
    assert_attention(case, result)
    op = Attention("", "", 0, 6, float(case.scale), window, 9.0, causal=True, sinks="sinks")
    found = attention(case.q.reshape(330, -1), case.k, case.v, op, case.sinks)
    assert_attention(case, found)
    with Pool(library, 3) as pool:
        for chunks in ([330], [320] + [1] * 10):
            np.testing.assert_array_equal(case.run(library, chunks, pool), result)


@pytest.mark.parametrize("softcap", [0.5, 30.0, 50.0])
def test_softcap(library: ctypes.CDLL, softcap: float) -> None:
    case = Case(90, n_heads=4, n_kv_heads=2, k_dim=32, softcap=softcap, size=20.0)
    # scores near the cap are known to 1e-7 of it
    tolerance = 2e-6 + 2e-7 * softcap
    assert_attention(case, case.run(library), tolerance)
    assert_attention(case, case.run(library, [80] + [1] * 10), tolerance)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kv_format", [F32, F16])
@pytest.mark.parametrize(
    "by_distance",
    [{"slopes": tuple(2.0**-n for n in (1, 2, 4, 6, 9, 20))}, {"buckets": [4, 0, 5, 2, 1, 3, 6]}],
)
def test_scores_by_the_distance(
    library: ctypes.CDLL, kv_format: int, causal: bool, by_distance: dict
) -> None:
    """Scores fall, or have a bias for each distance up to 3; the outermost go on."""
    sizes = {"n_heads": 6, "n_kv_heads": 2, "k_dim": 20, "kv_format": kv_format}
    case = Case(330, causal=causal, **by_distance, **sizes)
    result = case.run(library)
    # scores of some hundreds are known to 1e-5
    assert_attention(case, result, 2e-5)
    if causal:
        assert_attention(case, case.run(library, [63, 1, 1, 64, 2, 199]), 2e-5)
    with Pool(library, 3) as pool:
        np.testing.assert_array_equal(case.run(library, pool=pool), result)
    for broken in ([4, 0], [4, 0, -1], [4, 0, 7]) if len(case.buckets) else ():
        case.buckets = np.array(broken)
        with pytest.raises(AssertionError):
            case.run(library)


@pytest.mark.parametrize("size", [32.0, 1024.0, 2.0**100])
def test_large_scores(library: ctypes.CDLL, size: float) -> None:
    """The softmax picks one key, or equal ones, and nothing overflows. The scores are exact."""
    case = Case(200, n_heads=3, n_kv_heads=1, k_dim=8, size=size)
    case.q[:], case.k[:] = np.rint(case.q / size * 8) * size, np.rint(case.k * 8)
    case.scale = np.float32(1)
    for result in (case.run(library), case.run(library, [190] + [1] * 10)):
        assert_attention(case, result)


def test_scores_that_rise_and_fall(library: ctypes.CDLL) -> None:
    """The largest score changes with every tile, or comes first."""
    for slope in (0.3, -0.3):
        case = Case(400, n_heads=2, n_kv_heads=1, k_dim=4)
        case.q[:], case.scale = 1.0, np.float32(1)
        case.k[:] = (slope * np.arange(400, dtype=np.float32) / 4)[:, None, None]
        for result in (case.run(library), case.run(library, [380] + [1] * 20)):
            assert_attention(case, result, 1e-5)


def test_long_context(library: ctypes.CDLL) -> None:
    case = Case(1700, n_heads=2, n_kv_heads=1, k_dim=16, page_tokens=256, kv_format=F16)
    result = case.run(library, [1600, 90] + [1] * 10)
    assert_attention(case, result)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_shape(data: st.DataObject) -> None:
    draw = data.draw
    n_kv_heads = draw(st.integers(1, 3))
    case = Case(
        draw(st.integers(1, 200)),
        n_heads=n_kv_heads * draw(st.integers(1, 9)),
        n_kv_heads=n_kv_heads,
        k_dim=draw(st.integers(1, 70)),
        v_dim=draw(st.integers(1, 70)),
        window=draw(st.integers(0, 210)),
        softcap=draw(st.sampled_from([0.0, 5.0])),
        sinks=draw(st.booleans()),
        kv_format=draw(st.sampled_from([F32, F16, Q8_0])),
        page_tokens=draw(st.sampled_from([64, 128])),
        seed=draw(st.integers(0, 1000)),
    )
    chunks, rest = [], len(case.q)
    while rest:
        chunks.append(draw(st.integers(1, rest)))
        rest -= chunks[-1]
    assert_attention(case, case.run(load(libraries()[-1]), chunks), 4e-6)


@pytest.mark.parametrize("n_threads", [2, 3, 4])
@pytest.mark.parametrize("heads", [(9, 3), (4, 1), (1, 1)])
def test_batches_and_threads_change_no_bit(
    library: ctypes.CDLL, heads: tuple[int, int], n_threads: int
) -> None:
    case = Case(350, n_heads=heads[0], n_kv_heads=heads[1], k_dim=32, kv_format=F16)
    expected = case.run(library)
    with Pool(library, n_threads) as pool:
        for chunks in ([350], [290, 17, 1, 1, 1, 40], [10, 340]):
            np.testing.assert_array_equal(case.run(library, chunks, pool), expected)


def test_a_query_that_is_no_number_stays_alone(library: ctypes.CDLL) -> None:
    case = Case(100, n_heads=4, n_kv_heads=2, k_dim=16)
    for chunks in ([100], [40] + [1] * 60):
        clean = case.run(library, chunks)
        poisoned = Case(100, n_heads=4, n_kv_heads=2, k_dim=16)
        poisoned.q[50, 1, 3] = np.nan
        result = poisoned.run(library, chunks).reshape(100, 4, 16)
        assert np.isnan(result[50, 1]).all()
        result[50, 1] = clean.reshape(100, 4, 16)[50, 1]
        np.testing.assert_array_equal(result.reshape(100, -1), clean)


@pytest.mark.parametrize("position", [0, 1, 63, 64, 255, 256, 500])
def test_a_key_that_is_no_number_is_not_passed_over(library: ctypes.CDLL, position: int) -> None:
    """It spoils the tokens that see it, and no others."""
    case = Case(600, n_heads=2, n_kv_heads=1, k_dim=16, window=70)
    for chunks in ([600], [400] + [1] * 200):
        clean = case.run(library, chunks)
        poisoned = Case(600, n_heads=2, n_kv_heads=1, k_dim=16, window=70)
        poisoned.k[position] = np.nan
        result = poisoned.run(library, chunks)
        assert np.isnan(result[position : position + 70]).all()
        result[position : position + 70] = clean[position : position + 70]
        np.testing.assert_array_equal(result, clean)


@pytest.mark.parametrize("kv_format", [F32, F16, Q8_0])
@pytest.mark.parametrize("heads", [(2, 1), (3, 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_spoils_none_that_does_not_see_it(
    library: ctypes.CDLL, value: float, heads: tuple[int, int], kv_format: int
) -> None:
    """Not even rows that go through the inner loops beside one that does."""
    sizes = {"n_heads": heads[0], "n_kv_heads": heads[1], "k_dim": 32, "kv_format": kv_format}
    for window in (0, 66):
        for position in (1, 62, 64):
            case, poisoned = (Case(150, window=window, **sizes) for _ in range(2))
            poisoned.v[position] = value
            end = position + window if window else 150
            for chunks in ([150], [4, 60, 7, 70, 9]):
                clean, result = case.run(library, chunks), poisoned.run(library, chunks)
                if np.isnan(value) or kv_format == F32:
                    assert not np.isfinite(result[position:end]).any()
                result[position:end] = clean[position:end]
                np.testing.assert_array_equal(result, clean)


@pytest.mark.parametrize(("window", "causal"), [(0, True), (5, True), (0, False)])
def test_numpy_keeps_what_is_no_number_from_rows_that_do_not_see_it(
    window: int, causal: bool
) -> None:
    case = Case(20, n_heads=4, n_kv_heads=2, window=window, causal=causal)
    op = Attention("dst", "q", 0, 4, float(case.scale), window, 0.0, causal, sinks=None)
    clean = attention(case.q.reshape(20, -1), case.k, case.v, op)
    case.v[12] = np.nan
    result = attention(case.q.reshape(20, -1), case.k, case.v, op)
    spoiled = slice(12 if causal else 0, 17 if window else 20)
    assert np.isnan(result[spoiled]).all()
    result[spoiled] = clean[spoiled]
    # sums of float32 near 1, some of which cancel: the BLAS may add them in another order
    np.testing.assert_allclose(result, clean, rtol=1e-6, atol=2**-23)


@pytest.mark.parametrize("window", [0, 300, 1000])
@pytest.mark.parametrize("position", [255, 256, 1023, 5000, 128 * 256 - 1, 128 * 256, 40_000])
def test_threads_share_one_long_context(library: ctypes.CDLL, position: int, window: int) -> None:
    rng = np.random.default_rng(0)
    plan = KernelPlan(1024, F16)
    layer = plan.layer(3, 4, 5)
    q, out = plan.filled(rng.normal(0, 1, (1, 36))), plan.buffer(1, 45)
    plan.op(
        Attention, queries=q, dst=out, layer=layer, n_heads=9, window=window, causal=1, scale=1.0
    )
    assert plan.check(library) == 0
    plan.batch(1, position)
    for page in plan.pages:
        values = rng.normal(0, 1, page.n_bytes // 2).astype(np.float16)
        ctypes.memmove(page.address, values.tobytes(), page.n_bytes)
    assert plan.run(library, 1, position) == 0
    expected = plan.read(out).copy()
    assert np.isfinite(expected).all()
    for n_threads in (2, 3, 5):
        with Pool(library, n_threads) as pool:
            assert plan.run(library, 1, position, pool=pool) == 0
        np.testing.assert_array_equal(plan.read(out), expected)


@pytest.mark.parametrize("kv_format", [F32, F16])
def test_cache_holds_what_was_stored(library: ctypes.CDLL, kv_format: int) -> None:
    """Every head of every position lies where ox.h says, and nothing else is touched."""
    rng = np.random.default_rng(0)
    plan = KernelPlan(64, kv_format)
    layers = [plan.layer(2, 5, 3), plan.layer(1, 8, 8)]
    keys, values = rng.normal(0, 1, (150, 10)), rng.normal(0, 1, (150, 6))
    keys[7, :6] = [65519, 65520, -1e9, 2.0**-15, 1 + 2.0**-11, 1 + 3 * 2.0**-11]
    keys[8, :5] = [2.0**-14 - 2.0**-27, 2.0**-14 - 2.0**-25, -np.inf, np.nan, -(2.0**-20)]
    k, v = plan.filled(keys), plan.filled(values)
    plan.op(KVStore, keys=k, values=v, layer=layers[0])
    assert plan.check(library) == 0
    plan.batch(203)
    for page in plan.pages:
        ctypes.memset(page.address, 0xAB, page.n_bytes)
    assert plan.run(library, 150, position=53) == 0

    pages = np.full((4, plan.page_bytes), 0xAB, np.uint8)
    dtype = np.dtype(np.float32 if kv_format == F32 else np.float16)
    layer = plan.layers[0]
    for rows, offset, dim in ((keys, layer.k_offset, 5), (values, layer.v_offset, 3)):
        rows = rows.astype(np.float32)
        if kv_format == F16:
            rows = np.clip(rows, -65504, 65504).astype(np.float16)
            rows[np.abs(rows) < 2.0**-14] = 0
        part = slice(offset, offset + 2 * 64 * dim * dtype.itemsize)
        stored = pages[:, part].copy().view(dtype)
        # [page, head, position, dim] for values, [page, head, dim, position] for keys
        positions = stored.reshape(4, 2, 64, dim)
        if offset == layer.k_offset:
            positions = stored.reshape(4, 2, dim, 64).swapaxes(2, 3)
        for t in range(150):
            positions[(53 + t) // 64, :, (53 + t) % 64] = rows[t].astype(dtype).reshape(2, dim)
        pages[:, part] = stored.view(np.uint8)
    found = np.stack([np.frombuffer(page.content(), np.uint8) for page in plan.pages])
    np.testing.assert_array_equal(found, pages)


@pytest.mark.parametrize("at", [0, 1])
def test_q8_0_cache_holds_what_was_stored(library: ctypes.CDLL, at: int) -> None:
    """Values and scales of every head and position lie where kv_cache.h says."""
    rng = np.random.default_rng(at)
    dim, n_heads = 40, 2
    plan = KernelPlan(64, Q8_0)
    layer = plan.layers[plan.layer(n_heads, dim, dim)]
    rows = rng.normal(0, 1, (2, 70, n_heads, dim)).astype(np.float32)
    k, v = (plan.filled(part.reshape(70, -1)) for part in rows)
    plan.op(KVStore, keys=k, values=v, layer=0)
    assert plan.check(library) == 0
    assert plan.run(library, 70, position=0) == 0
    tile = 64 * (dim + 2 * 2)
    for t in (0, 63, 64, 69):
        page = np.frombuffer(plan.pages[t // 64].content(), np.uint8)
        for head in range(n_heads):
            offset = (layer.k_offset, layer.v_offset)[at] + head * tile
            values = page[offset : offset + 64 * dim].view(np.int8)
            scales = page[offset + 64 * dim : offset + tile].view(np.float16).reshape(2, 64)
            stored = values.reshape(64, dim)[t % 64] if at else values.reshape(dim, 64)[:, t % 64]
            expected, expected_scales = quantize_cached(rows[at, t, head])
            np.testing.assert_array_equal(stored, expected)
            np.testing.assert_array_equal(scales[:, t % 64], expected_scales[[0, 32]])


def test_q8_0_cache_of_extreme_values(library: ctypes.CDLL) -> None:
    """Zeros, subnormals and the largest numbers stay finite; what is no number stays in its
    head."""
    plan = KernelPlan(64, Q8_0)
    layer = plan.layers[plan.layer(3, 32, 32)]
    rows = np.zeros((4, 96), np.float32)
    rows[0, :32], rows[0, 32:64] = 3e38, 1e-42
    rows[1, :3] = [np.inf, -np.inf, 1]
    rows[2, 40] = np.nan
    rows[3] = -2e-6
    k = plan.filled(rows)
    plan.op(KVStore, keys=k, values=k, layer=0)
    assert plan.check(library) == 0
    assert plan.run(library, 4, position=0) == 0
    page = np.frombuffer(plan.pages[0].content(), np.uint8)
    tiles = page[layer.v_offset : layer.v_offset + 3 * 64 * 34].reshape(3, -1)
    scales = tiles[:, 64 * 32 :].copy().view(np.float16)[:, :4]
    values = tiles[:, : 64 * 32].view(np.int8).reshape(3, 64, 32)[:, :4]
    assert np.argwhere(np.isnan(scales)).tolist() == [[1, 2]]
    largest = np.float16(65504)
    assert scales[0].tolist() == [largest, largest, 0, np.float16(2e-6 / 127)]
    assert (values[0, 0] == 127).all()
    assert values[0, 1, :3].tolist() == [127, -127, 0]
    assert not values[1, 0].any()
    assert (values[:, 3] == -127).all()
