"""Interleaving rows of a weight: the same bits in another order."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from linear_driver import (
    FLOAT_FORMATS,
    QUANTIZED_FORMATS,
    libraries,
    load,
    pack,
    random_weight,
    run_embed,
)


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return load("portable")


@pytest.mark.parametrize("name", QUANTIZED_FORMATS)
def test_bits_are_only_moved(library: ctypes.CDLL, name: str) -> None:
    weight = random_weight(name, 37, 512)
    before = np.frombuffer(weight.content(), np.uint8)
    values = run_embed(library, weight, list(range(37)))
    weight.pack(library)
    after = np.frombuffer(weight.content(), np.uint8)
    assert not np.array_equal(before, after)
    assert np.unpackbits(before).sum() == np.unpackbits(after).sum()
    np.testing.assert_array_equal(run_embed(library, weight, list(range(37))), values)
    # rows after the last whole panel stay where they are
    rest = 5 * len(before) // 37
    np.testing.assert_array_equal(before[-rest:], after[-rest:])


@pytest.mark.parametrize("name", QUANTIZED_FORMATS)
def test_every_bit_of_a_row_counts(library: ctypes.CDLL, name: str) -> None:
    """A panel whose rows are all alike but one: only that row's values differ after packing."""
    weight = random_weight(name, 16, 256)
    rows = np.frombuffer(weight.content(), np.uint8).reshape(16, -1).copy()
    rows[:] = rows[0]
    rows[7] = np.frombuffer(weight.content(), np.uint8).reshape(16, -1)[7]
    alike = type(weight)(name, 16, 256, rows)
    alike.pack(library)
    values = run_embed(library, alike, list(range(16)))
    others = [i for i in range(16) if i != 7]
    assert (values[others] == values[0]).all()
    np.testing.assert_allclose(values[7], alike.values[7], rtol=3e-7, atol=1e-7)


def test_a_tile_of_4_bit_weights(library: ctypes.CDLL) -> None:
    """The layout that formats.h draws."""
    weight = random_weight("Q4_1", 16, 32)
    rows = np.frombuffer(weight.content(), np.uint8).reshape(16, 20)
    weight.pack(library)
    packed = np.frombuffer(weight.content(), np.uint8)
    np.testing.assert_array_equal(packed[:32].reshape(16, 2), rows[:, 0:2])
    np.testing.assert_array_equal(packed[32:64].reshape(16, 2), rows[:, 2:4])
    groups = packed[64:].reshape(4, 16, 4)
    for group in range(4):
        np.testing.assert_array_equal(groups[group], rows[:, 4 + 4 * group : 8 + 4 * group])


def test_panels_can_be_packed_in_parts(library: ctypes.CDLL) -> None:
    whole, parts = (random_weight("Q5_0", 64, 96) for _ in range(2))
    whole.pack(library)
    for first, n in ((2, 2), (0, 1), (1, 1)):
        assert pack(library, parts.struct(), first, n) == 0
    assert parts.content() == whole.content()


def test_the_layout_is_the_same_for_all_libraries() -> None:
    packed = set()
    for isa in libraries():
        weights = [random_weight(name, 32, 256) for name in QUANTIZED_FORMATS]
        for weight in weights:
            weight.pack(load(isa))
        packed.add(b"".join(weight.content() for weight in weights))
    assert len(packed) == 1


@pytest.mark.parametrize("name", FLOAT_FORMATS)
def test_float_formats_stay_as_they_are(library: ctypes.CDLL, name: str) -> None:
    weight = random_weight(name, 32, 64)
    before = weight.content()
    weight.pack(library)
    assert weight.content() == before


def test_wrong_calls_are_refused(library: ctypes.CDLL) -> None:
    weight = random_weight("Q4_0", 32, 64)
    before = weight.content()
    assert pack(library, weight.struct(), 1, 2) != 0
    assert pack(library, weight.struct(), 0xFFFFFFFF, 2) != 0
    assert pack(library, weight.struct(), 0, 2, missing_scratch=1) != 0
    weight.packed = True
    assert pack(library, weight.struct(), 0, 2) != 0
    assert weight.content() == before
