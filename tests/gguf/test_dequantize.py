"""Formats and their dequantization, against the gguf package."""

from __future__ import annotations

import json
import re

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf_files import FORMAT_BY_NAME, random_blocks
from paths import GOLDEN, ROOT

from oxillama_web.errors import ModelFormatError, UnsupportedModelError
from oxillama_web.gguf.codebooks import codebook
from oxillama_web.gguf.dequantize import dequantize
from oxillama_web.gguf.types import FORMATS, REMOVED_FORMATS

NOT_WEIGHTS = {"I8", "I16", "I32", "I64"}
WITHOUT_ORACLE = {"F64", "Q1_0", "Q2_0", "Q8_1", "Q8_K"}
WEIGHTS = [name for name in FORMAT_BY_NAME if name not in NOT_WEIGHTS]
WITH_ORACLE = [name for name in WEIGHTS if name not in WITHOUT_ORACLE]


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(actual.view(np.uint32), expected.reshape(-1).view(np.uint32))


def oracle(blocks: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(blocks, GGMLQuantizationType[name])


def ours(blocks: np.ndarray, name: str) -> np.ndarray:
    known = FORMAT_BY_NAME[name]
    return dequantize(blocks.tobytes(), known.value, len(blocks) * known.block_size)


def test_the_table_is_that_of_the_gguf_package() -> None:
    expected = {
        int(kind): (kind.name, *sizes) for kind, sizes in gguf.constants.GGML_QUANT_SIZES.items()
    }
    # ggml's block_q8_1 has two float16, where the package still counts two float32
    expected[GGMLQuantizationType.Q8_1] = ("Q8_1", 32, 36)
    table = {
        number: (known.name, known.block_size, known.block_bytes)
        for number, known in FORMATS.items()
    }
    # what the package lacks is in llama.cpp's library
    assert table | expected == table
    assert all(number == known for number, known in FORMATS.items())


def test_the_table_is_that_of_llama_cpp() -> None:
    """tests/golden/make_ggml_types.py asked its library."""
    types = json.loads((GOLDEN / "ggml_types.json").read_text())
    known = {
        str(number): [known.name.upper(), known.block_size, known.block_bytes]
        for number, known in FORMATS.items()
    }
    removed = {number for number, (_, block_size, _) in types.items() if block_size == 0}
    assert removed == {str(number) for number in REMOVED_FORMATS}
    assert known == {
        number: [name.upper(), *sizes]
        for number, (name, *sizes) in types.items()
        if number not in removed
    }


@pytest.mark.parametrize("name", WITH_ORACLE)
def test_random_blocks_have_the_oracles_bits(name: str) -> None:
    """Enough blocks for several chunks and an uneven rest, and for every codebook entry."""
    known = FORMAT_BY_NAME[name]
    n_blocks = (3 << 16) // known.block_size + 7
    blocks = np.random.default_rng(1).integers(
        0, 256, (n_blocks, known.block_bytes), dtype=np.uint8
    )
    assert_same_bits(ours(blocks, name), oracle(blocks, name))


@pytest.mark.parametrize("name", WITH_ORACLE)
def test_extreme_blocks_have_the_oracles_bits(name: str) -> None:
    """Float16 zero, the largest, the smallest, inf and NaN of either sign, wherever a scale is."""
    known = FORMAT_BY_NAME[name]
    rng = np.random.default_rng(2)
    same = [np.full(known.block_bytes, byte, np.uint8) for byte in range(256)]
    halves = np.array(
        [0x0000, 0x8000, 0x7BFF, 0xFBFF, 0x0001, 0x8001, 0x0400, 0x7C00, 0xFC00, 0x7E00, 0xFE00],
        np.uint16,
    )
    mixed = halves[rng.integers(0, len(halves), (512, known.block_bytes))].view(np.uint8)
    shifted = mixed[:, 1 : 1 + known.block_bytes]
    blocks = np.concatenate([same, mixed[:, : known.block_bytes], shifted])
    assert_same_bits(ours(blocks, name), oracle(blocks, name))


@pytest.mark.parametrize("name", WITH_ORACLE)
def test_blocks_of_sane_scales_are_finite_and_have_the_oracles_bits(name: str) -> None:
    if name in ("F32", "F16", "BF16"):
        blocks = np.random.default_rng(3).standard_normal((64, 1)).astype(np.float32)
        data = gguf.quants.quantize(blocks, GGMLQuantizationType[name]).view(np.uint8)
    else:
        try:
            values = np.random.default_rng(3).standard_normal((64, 256)).astype(np.float32)
            data = gguf.quants.quantize(values, GGMLQuantizationType[name])
            data = data.reshape(-1, FORMAT_BY_NAME[name].block_bytes)
        except NotImplementedError:
            data = random_blocks(np.random.default_rng(3), name, 64)
    actual = ours(data, name)
    assert np.isfinite(actual).all()
    assert 0.5 < np.std(actual) < 2
    assert_same_bits(actual, oracle(data, name))


def test_q1_0_has_a_sign_a_value_lowest_bit_first() -> None:
    """PR 21273 of llama.cpp: 1 is plus the scale, 0 minus."""
    block = np.zeros((1, 18), np.uint8)
    block[0, :2] = np.array([1.5], "<f2").view(np.uint8)
    block[0, 2], block[0, 17] = 0b0000_0101, 0b1000_0000
    expected = np.full(128, -1.5, np.float32)
    expected[[0, 2, 127]] = 1.5
    assert_same_bits(ours(block, "Q1_0"), expected)


def test_q2_0_has_four_values_a_byte_lowest_bits_first() -> None:
    """ggml-common.h and dequantize_row_q2_0: -1, 0, 1 and 2 times the scale."""
    block = np.zeros((1, 18), np.uint8)
    block[0, :2] = np.array([1.5], "<f2").view(np.uint8)
    block[0, 2], block[0, 17] = 0b11_10_01_00, 0b01_01_01_11
    expected = np.full(64, -1.5, np.float32)
    expected[:4], expected[60:] = (-1.5, 0.0, 1.5, 3.0), (3.0, 0.0, 0.0, 0.0)
    assert_same_bits(ours(block, "Q2_0"), expected)


@pytest.mark.parametrize(
    ("name", "scale", "values_at"), [("Q8_1", np.float16(0.3), 4), ("Q8_K", np.float32(1e-30), 4)]
)
def test_8_bit_formats_with_sums(name: str, scale: np.floating, values_at: int) -> None:
    """ggml's block_q8_1 and block_q8_K: the sums kept with the values change nothing."""
    known = FORMAT_BY_NAME[name]
    block = np.random.default_rng(4).integers(0, 256, (1, known.block_bytes), dtype=np.uint8)
    values = np.arange(known.block_size).astype(np.uint8).view(np.int8)
    block[0, : scale.nbytes] = np.array([scale]).view(np.uint8)
    block[0, values_at : values_at + known.block_size] = values.view(np.uint8)
    assert_same_bits(ours(block, name), np.float32(scale) * values.astype(np.float32))


def test_f64_is_rounded_to_float32() -> None:
    values = np.array([[0.1], [-2.5], [1e300]], "<f8")
    assert_same_bits(ours(values.view(np.uint8), "F64"), np.array([0.1, -2.5, np.inf], np.float32))


@pytest.mark.parametrize(
    ("name", "entries", "width"),
    [
        ("IQ2_XXS", 256, 8),
        ("IQ2_XS", 512, 8),
        ("IQ2_S", 1024, 8),
        ("IQ3_XXS", 256, 4),
        ("IQ3_S", 512, 4),
        ("IQ1", 2048, 8),
    ],
)
def test_codebooks_are_complete(name: str, entries: int, width: int) -> None:
    book = codebook(name)
    assert book.shape == (entries, width)
    assert len(np.unique(book, axis=0)) == entries
    grid = getattr(gguf.quants, "IQ1_S" if name == "IQ1" else name)
    grid.init_grid()
    np.testing.assert_array_equal(book, grid.grid.reshape(book.shape))


def test_the_kernels_codebooks_are_the_same() -> None:
    source = ROOT / "kernels_c" / "quant" / "codebooks.h"
    _, *tables = re.split(r"/\* (I\w+) \*/", source.read_text())
    assert tables[::2] == ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1", "IQ3_XXS", "IQ3_S"]
    for name, table in zip(tables[::2], tables[1::2], strict=True):
        rows = re.findall(r"R[38]\(([\d,]+)\)", table)
        numbers = np.array([int(n) for row in rows for n in row.split(",")])
        book = codebook(name)
        levels = np.unique(book)
        digits = numbers[:, None] // len(levels) ** np.arange(book.shape[1]) % len(levels)
        np.testing.assert_array_equal(levels[digits], book)


def test_any_buffer_will_do_and_the_result_is_new() -> None:
    data = np.arange(8, dtype="<f4").tobytes()
    odd = memoryview(b"x" + data)[1:]
    for buffer in (data, bytearray(data), memoryview(data), odd):
        values = dequantize(buffer, 0, 8)
        np.testing.assert_array_equal(values, np.arange(8))
        values[0] = 7
        assert bytes(buffer) == data
    assert dequantize(b"", 12, 0).shape == (0,)


@pytest.mark.parametrize("name", sorted(NOT_WEIGHTS))
def test_formats_that_hold_no_weights_are_refused_by_name(name: str) -> None:
    known = FORMAT_BY_NAME[name]
    with pytest.raises(UnsupportedModelError, match=name):
        dequantize(bytes(known.block_bytes), known.value, known.block_size)


def test_an_unknown_format_is_refused_by_number() -> None:
    with pytest.raises(UnsupportedModelError, match="99"):
        dequantize(b"", 99, 0)


@pytest.mark.parametrize(("n_bytes", "n_elements"), [(17, 32), (19, 32), (18, 31), (18, -32)])
def test_sizes_that_do_not_fit_are_refused(n_bytes: int, n_elements: int) -> None:
    with pytest.raises(ModelFormatError, match="Q4_0"):
        dequantize(bytes(n_bytes), FORMAT_BY_NAME["Q4_0"], n_elements)
