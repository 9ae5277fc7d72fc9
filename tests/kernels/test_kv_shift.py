"""Cached keys and values that move to the front, in C, against float64 NumPy."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import Block, libraries, load
from ops_driver import F16, F32, Q8_0, KernelPlan

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.kernels.kv_layout import tile_bytes
from oxillama_web.plan.kv_shift import turned_back
from oxillama_web.plan.operations.attention import KVStore

BAD_MODEL, BAD_BATCH, BAD_SCRATCH = 1, 3, 5
KINDS = {F32: "f32", F16: "f16", Q8_0: "q8_0"}
# the largest error of a key of that size 1 in the cache's format
PRECISION = {F32: 1e-6, F16: 2.0**-11, Q8_0: 0.6 / 127}


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


class Cache:
    """Layers of random keys and values, [n_heads, k_dim, v_dim] each, in a cache of a format."""

    def __init__(
        self,
        library: ctypes.CDLL,
        layers: list[tuple[int, int, int]],
        n_tokens: int,
        kv_format: int,
        page_tokens: int = 64,
    ) -> None:
        self.layers, self.n_tokens, self.library = layers, n_tokens, library
        plan = self.plan = KernelPlan(page_tokens, kv_format)
        rng = np.random.default_rng(n_tokens)
        for n_heads, k_dim, v_dim in layers:
            keys, values = (
                plan.filled(rng.uniform(-1, 1, (n_tokens, n_heads * dim))) for dim in (k_dim, v_dim)
            )
            plan.op(KVStore, keys=keys, values=values, layer=plan.layer(n_heads, k_dim, v_dim))
        assert plan.check(library) == 0
        assert plan.run(library, n_tokens) == 0

    def read(self, layer: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values [end, n_heads, dim] in float64."""
        n_heads, k_dim, v_dim = self.layers[layer]
        row = self.plan.layers[layer]
        keys = self._tiles(row.k_offset, n_heads, k_dim, transposed=True)
        return keys[:end], self._tiles(row.v_offset, n_heads, v_dim, transposed=False)[:end]

    def _tiles(self, offset: int, n_heads: int, dim: int, *, transposed: bool) -> np.ndarray:
        plan = self.plan
        size, n_tiles = tile_bytes(KINDS[plan.kv_format], dim), plan.page_tokens // 64
        dtype = {F32: np.float32, F16: np.float16, Q8_0: np.int8}[plan.kv_format]
        pages = []
        for page in plan.pages:
            raw = ctypes.string_at(page.address + offset, n_heads * n_tiles * size)
            tiles = np.frombuffer(raw, np.uint8).reshape(n_heads * n_tiles, size)
            n_bytes = 64 * dim * np.dtype(dtype).itemsize
            shape = (-1, dim, 64) if transposed else (-1, 64, dim)
            values = tiles[:, :n_bytes].copy().view(dtype).reshape(shape).astype(np.float64)
            if transposed:
                values = values.transpose(0, 2, 1)
            if plan.kv_format == Q8_0:
                scales = tiles[:, n_bytes:].copy().view(np.float16).reshape(len(tiles), -1, 64)
                values *= np.repeat(scales.transpose(0, 2, 1), 32, axis=2)[..., :dim]
            pages.append(values.reshape(n_heads, -1, dim).transpose(1, 0, 2))
        return np.concatenate(pages)

    def shift(
        self, rotations: list[tuple[list[float], int]], start: int, n: int, missing: int = 0
    ) -> int:
        """ox_kv_shift of all positions from `start` on; each layer's frequencies and style."""
        model, batch = self.plan.model(), self.plan.batch(self.n_tokens - start, start)
        tables = [
            np.array(turned_back(frequencies, n) or [0.0], np.float32)
            for frequencies, _ in rotations
        ]
        self.blocks = [Block(table.nbytes, table.tobytes()) for table in tables]
        rows = (abi.KeyRotation * len(rotations))(
            *(
                abi.KeyRotation(block.address, len(frequencies), style)
                for block, (frequencies, style) in zip(self.blocks, rotations, strict=True)
            )
        )
        n_key = max(k_dim for _, k_dim, _ in self.layers) - missing
        scratch = Block(4 * n_key)
        return int(
            self.library.ox_kv_shift(
                ctypes.byref(model),
                ctypes.c_void_p(batch.sequences),
                n,
                rows,
                ctypes.c_void_p(scratch.address),
                n_key,
            )
        )


def turned(keys: np.ndarray, frequencies: list[float], style: int, n: int) -> np.ndarray:
    """Keys as complex numbers, times exp(-i n f)."""
    result, pairs = keys.copy(), len(frequencies)
    order = np.arange(2 * pairs).reshape(pairs, 2) if style == 0 else None
    first = order[:, 0] if style == 0 else np.arange(pairs)
    second = order[:, 1] if style == 0 else np.arange(pairs, 2 * pairs)
    numbers = keys[..., first] + 1j * keys[..., second]
    numbers = numbers * np.exp(-1j * n * np.array(frequencies))
    result[..., first], result[..., second] = numbers.real, numbers.imag
    return result


@settings(max_examples=25, deadline=None)
@given(
    kv_format=st.sampled_from([F32, F16, Q8_0]),
    page_tokens=st.sampled_from([64, 256]),
    sizes=st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=3
    ),
    n_tokens=st.integers(1, 300),
    data=st.data(),
)
def test_what_is_behind_moves_and_keys_turn(
    library: ctypes.CDLL,
    kv_format: int,
    page_tokens: int,
    sizes: list[tuple[int, int, int]],
    n_tokens: int,
    data: st.DataObject,
) -> None:
    cache = Cache(library, sizes, n_tokens, kv_format, page_tokens)
    start = data.draw(st.integers(1, n_tokens), label="start")
    n = data.draw(st.integers(1, start), label="n")
    rotations = []
    for _, k_dim, _ in sizes:
        pairs = data.draw(st.integers(0, k_dim // 2), label="pairs")
        style = data.draw(st.integers(0, 1), label="style")
        rotations.append(([1000.0 ** (-j / (pairs or 1)) for j in range(pairs)], style))
    before = [cache.read(layer, n_tokens) for layer in range(len(sizes))]
    assert cache.shift(rotations, start, n) == 0
    for layer, (frequencies, style) in enumerate(rotations):
        old_keys, old_values = before[layer]
        keys, values = cache.read(layer, n_tokens - n)
        assert (keys[: start - n] == old_keys[: start - n]).all()
        assert (values[: start - n] == old_values[: start - n]).all()
        assert (values[start - n :] == old_values[start:]).all()
        expected = turned(old_keys[start:], frequencies, style, n)
        limit = PRECISION[kv_format] * np.sqrt(2) if frequencies else 0.0
        assert np.abs(keys[start - n :] - expected).max(initial=0.0) <= limit


def test_what_does_not_fit_is_refused(library: ctypes.CDLL) -> None:
    cache = Cache(library, [(1, 8, 8), (2, 6, 4)], 100, F16)
    whole = [([1.0] * 4, 1), ([1.0] * 3, 0)]
    assert cache.shift(whole, 50, 51) == BAD_BATCH
    assert cache.shift(whole, 50, 0) == BAD_BATCH
    assert cache.shift(whole, 50, 50, missing=1) == BAD_SCRATCH
    assert cache.shift([([1.0] * 4, 1), ([1.0] * 4, 0)], 50, 50) == BAD_MODEL
    assert cache.shift([([1.0] * 4, 2), ([1.0] * 3, 0)], 50, 50) == BAD_MODEL
    cache.plan.batch = lambda n_tokens, position: missing_page(cache.plan, n_tokens, position)
    assert cache.shift(whole, 50, 50) == BAD_BATCH


def missing_page(plan: KernelPlan, n_tokens: int, position: int) -> abi.Batch:
    """A batch whose positions have fewer pages than they need."""
    batch = KernelPlan.batch(plan, n_tokens, position)
    plan._sequence_table[0].n_pages -= 1
    return batch
