"""Converts every format to float32 with NumPy: the reference for all other arithmetic.

Each function takes blocks, uint8 [n, block_bytes], and returns their values, float32
[n, block_size]. The layouts are those of ggml's block structs (ggml-common.h), and the order of
multiplications and additions is ggml's too, so the results are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelFormatError, UnsupportedModelError
from .codebooks import codebook
from .types import FORMATS, GGMLType

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Dequantizer = Callable[[Bytes], Floats]

_DEQUANTIZERS: dict[int, Dequantizer] = {}

# Values that are converted at once: few enough for the intermediate arrays to stay in cache.
_CHUNK = 1 << 16


def dequantize(data: bytes | bytearray | memoryview, format: int, n_elements: int) -> Floats:
    """Return the values of a tensor's bytes, as a new float32 array [n_elements].

    Args:
        data: the tensor's raw bytes, as GGUFFile.tensor_data returns them.
        format: a key of types.FORMATS.
        n_elements: how many values `data` holds.

    Raises:
        UnsupportedModelError: the format does not hold weights.
        ModelFormatError: n_elements values take another size than that of `data`.
    """
    known = FORMATS.get(format)
    if known is None or format not in _DEQUANTIZERS:
        raise UnsupportedModelError(
            f"weights cannot be read from the format {known.name if known else format}"
        )
    n_blocks, rest = divmod(n_elements, known.block_size)
    n_bytes = memoryview(data).nbytes
    if rest or n_elements < 0 or n_bytes != n_blocks * known.block_bytes:
        raise ModelFormatError(f"{n_bytes} bytes cannot be {n_elements} values of {known.name}")
    blocks = np.frombuffer(data, np.uint8).reshape(n_blocks, known.block_bytes)
    values = np.empty((n_blocks, known.block_size), np.float32)
    function = _DEQUANTIZERS[format]
    step = _CHUNK // known.block_size
    with np.errstate(all="ignore"):  # broken scales give NaN and infinity, as in the kernels
        for start in range(0, n_blocks, step):
            values[start : start + step] = function(blocks[start : start + step])
    return values.reshape(-1)


def _reads(format: GGMLType) -> Callable[[Dequantizer], Dequantizer]:
    """Register the function that reads a format."""

    def register(function: Dequantizer) -> Dequantizer:
        _DEQUANTIZERS[format] = function
        return function

    return register


@_reads(GGMLType.F32)
def _f32(blocks: Bytes) -> Floats:
    return _view(blocks, "<f4")


@_reads(GGMLType.F64)
def _f64(blocks: Bytes) -> Floats:
    return _floats(_view(blocks, "<f8"))


@_reads(GGMLType.F16)
def _f16(blocks: Bytes) -> Floats:
    return _floats(_view(blocks, "<f2"))


@_reads(GGMLType.BF16)
def _bf16(blocks: Bytes) -> Floats:
    bits = _view(blocks, "<u2").astype(np.uint32) << np.uint32(16)
    return _view(bits, "f4")


@_reads(GGMLType.Q1_0)
def _q1_0(blocks: Bytes) -> Floats:
    d, bits = _f16(blocks[:, :2]), blocks[:, 2:]
    return d * (2 * _floats(_fields(bits, 1, 1)) - 1)


@_reads(GGMLType.Q2_0)
def _q2_0(blocks: Bytes) -> Floats:
    d, pairs = _f16(blocks[:, :2]), blocks[:, 2:]
    return d * (_floats(_fields(pairs, 2, 1)) - 1)


@_reads(GGMLType.Q4_0)
def _q4_0(blocks: Bytes) -> Floats:
    d, nibbles = _f16(blocks[:, :2]), blocks[:, 2:]
    return d * (_floats(_fields(nibbles, 4, 16)) - 8)


@_reads(GGMLType.Q4_1)
def _q4_1(blocks: Bytes) -> Floats:
    d, m, nibbles = _f16(blocks[:, :2]), _f16(blocks[:, 2:4]), blocks[:, 4:]
    return d * _floats(_fields(nibbles, 4, 16)) + m


@_reads(GGMLType.Q5_0)
def _q5_0(blocks: Bytes) -> Floats:
    d, high, nibbles = _f16(blocks[:, :2]), blocks[:, 2:6], blocks[:, 6:]
    return d * (_floats(_fields(nibbles, 4, 16) | _fields(high, 1, 1) << 4) - 16)


@_reads(GGMLType.Q5_1)
def _q5_1(blocks: Bytes) -> Floats:
    d, m, high, nibbles = (
        _f16(blocks[:, :2]),
        _f16(blocks[:, 2:4]),
        blocks[:, 4:8],
        blocks[:, 8:],
    )
    return d * _floats(_fields(nibbles, 4, 16) | _fields(high, 1, 1) << 4) + m


@_reads(GGMLType.Q8_0)
def _q8_0(blocks: Bytes) -> Floats:
    d, values = _f16(blocks[:, :2]), _view(blocks[:, 2:], "i1")
    return _floats(values) * d


@_reads(GGMLType.Q8_1)
def _q8_1(blocks: Bytes) -> Floats:
    """Like Q8_0, but a float16 with the scaled sum of the values follows the scale."""
    d, values = _f16(blocks[:, :2]), _view(blocks[:, 4:], "i1")
    return _floats(values) * d


@_reads(GGMLType.Q8_K)
def _q8_k(blocks: Bytes) -> Floats:
    """A float32 scale; the sums of each 16 values follow the values."""
    d, values = _f32(blocks[:, :4]), _view(blocks[:, 4:260], "i1")
    return _floats(values) * d


@_reads(GGMLType.Q2_K)
def _q2_k(blocks: Bytes) -> Floats:
    scales, pairs = blocks[:, :16], blocks[:, 16:80]
    d, dmin = _f16(blocks[:, 80:82]), _f16(blocks[:, 82:84])
    scale, offset = d * _floats(scales & 15), dmin * _floats(scales >> 4)
    return _scaled(scale, _floats(_fields(pairs, 2, 32)), offset)


@_reads(GGMLType.Q3_K)
def _q3_k(blocks: Bytes) -> Floats:
    """Where the third bit, which is stored apart, is not set, 4 is subtracted."""
    third, pairs, packed, d = (
        blocks[:, :32],
        blocks[:, 32:96],
        blocks[:, 96:108],
        _f16(blocks[:, 108:110]),
    )
    scales = _fields(packed[:, :8], 4, 8) | _fields(packed[:, 8:], 2, 4) << 4
    values = _floats(_fields(pairs, 2, 32)) - 4 * _floats(1 - _fields(third, 1, 32))
    return _scaled(d * (_floats(scales) - 32), values)


@_reads(GGMLType.Q4_K)
def _q4_k(blocks: Bytes) -> Floats:
    scale, offset = _k_scales(blocks)
    return _scaled(scale, _floats(_fields(blocks[:, 16:], 4, 32)), offset)


@_reads(GGMLType.Q5_K)
def _q5_k(blocks: Bytes) -> Floats:
    scale, offset = _k_scales(blocks)
    fifth, nibbles = blocks[:, 16:48], blocks[:, 48:]
    values = _fields(nibbles, 4, 32) | _fields(fifth, 1, 32) << 4
    return _scaled(scale, _floats(values), offset)


@_reads(GGMLType.Q6_K)
def _q6_k(blocks: Bytes) -> Floats:
    nibbles, pairs, scales, d = (
        blocks[:, :128],
        blocks[:, 128:192],
        _view(blocks[:, 192:208], "i1"),
        _f16(blocks[:, 208:210]),
    )
    values = _floats(_fields(nibbles, 4, 64) | _fields(pairs, 2, 32) << 4) - 32
    return _scaled(d * _floats(scales), values)


@_reads(GGMLType.TQ1_0)
def _tq1_0(blocks: Bytes) -> Floats:
    """A byte holds five ternary digits as a fraction of 256: the carry of three times it is one."""
    d = _f16(blocks[:, 52:54])
    parts = ((blocks[:, :32], 5), (blocks[:, 32:48], 5), (blocks[:, 48:52], 4))
    powers = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]
    fractions = [
        (part[:, None, :] * powers[:digits]).reshape(len(blocks), -1) for part, digits in parts
    ]
    digits = np.concatenate(fractions, axis=1).astype(np.uint16) * 3 >> 8
    return d * (_floats(digits) - 1)


@_reads(GGMLType.TQ2_0)
def _tq2_0(blocks: Bytes) -> Floats:
    pairs, d = blocks[:, :64], _f16(blocks[:, 64:66])
    return d * (_floats(_fields(pairs, 2, 32)) - 1)


# E2M1 floats, doubled to be integers
# https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf
_FP4 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


@_reads(GGMLType.MXFP4)
def _mxfp4(blocks: Bytes) -> Floats:
    """The scale of 32 values is a power of two, halved because the table is doubled."""
    d = np.ldexp(np.float32(1), blocks[:, :1].astype(np.int32) - 128)
    return d * _FP4[_fields(blocks[:, 1:], 4, 16)]


@_reads(GGMLType.NVFP4)
def _nvfp4(blocks: Bytes) -> Floats:
    """The scale of 16 values is an unsigned E4M3 float, halved because the table is doubled."""
    codes = blocks[:, :4]
    exponent, mantissa = (codes >> 3 & 15).astype(np.int32), codes & 7
    whole = _floats(np.where(exponent == 0, mantissa, mantissa + 8))
    d = np.where(codes == 0x7F, np.float32(0), np.ldexp(whole, np.maximum(exponent, 1) - 11))
    return _scaled(d, _FP4[_fields(blocks[:, 4:], 4, 8)])


_IQ4 = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)


@_reads(GGMLType.IQ4_NL)
def _iq4_nl(blocks: Bytes) -> Floats:
    return _f16(blocks[:, :2]) * _IQ4[_fields(blocks[:, 2:], 4, 16)]


@_reads(GGMLType.IQ4_XS)
def _iq4_xs(blocks: Bytes) -> Floats:
    d, high, low, nibbles = (
        _f16(blocks[:, :2]),
        blocks[:, 2:4],
        blocks[:, 4:8],
        blocks[:, 8:],
    )
    scales = _fields(low, 4, 1) | _fields(high, 2, 1) << 4
    return _scaled(d * (_floats(scales) - 32), _IQ4[_fields(nibbles, 4, 16)])


@_reads(GGMLType.IQ2_XXS)
def _iq2_xxs(blocks: Bytes) -> Floats:
    """Each 32 values have a word of four entries, and a word of four sign numbers and a scale."""
    d, words = _f16(blocks[:, :2]), _view(blocks[:, 2:], "<u4").reshape(len(blocks), 8, 2)
    entries = _view(words[..., 0], "u1").reshape(len(blocks), 32)
    scale = d * (_floats(words[..., 1] >> 28) + np.float32(0.5)) * np.float32(0.25)
    return _signed(scale, codebook("IQ2_XXS")[entries], _even_signs(_sign_numbers(words[..., 1])))


@_reads(GGMLType.IQ2_XS)
def _iq2_xs(blocks: Bytes) -> Floats:
    d, words, scales = _f16(blocks[:, :2]), _view(blocks[:, 2:66], "<u2"), blocks[:, 66:]
    return _signed(
        _quarter_scales(d, scales), codebook("IQ2_XS")[words & 511], _even_signs(words >> 9)
    )


@_reads(GGMLType.IQ2_S)
def _iq2_s(blocks: Bytes) -> Floats:
    d, low, signs, high, scales = (
        _f16(blocks[:, :2]),
        blocks[:, 2:34],
        blocks[:, 34:66],
        blocks[:, 66:74],
        blocks[:, 74:82],
    )
    entries = low | _fields(high, 2, 1).astype(np.uint16) << 8
    return _signed(_quarter_scales(d, scales), codebook("IQ2_S")[entries], signs)


@_reads(GGMLType.IQ3_XXS)
def _iq3_xxs(blocks: Bytes) -> Floats:
    d, entries, words = _f16(blocks[:, :2]), blocks[:, 2:66], _view(blocks[:, 66:], "<u4")
    scale = d * (_floats(words >> 28) + np.float32(0.5)) * np.float32(0.5)
    return _signed(scale, codebook("IQ3_XXS")[entries], _even_signs(_sign_numbers(words)))


@_reads(GGMLType.IQ3_S)
def _iq3_s(blocks: Bytes) -> Floats:
    d, low, high, signs, scales = (
        _f16(blocks[:, :2]),
        blocks[:, 2:66],
        blocks[:, 66:74],
        blocks[:, 74:106],
        blocks[:, 106:110],
    )
    entries = low | _fields(high, 1, 1).astype(np.uint16) << 8
    scale = d * (1 + 2 * _floats(_fields(scales, 4, 1)))
    return _signed(scale, codebook("IQ3_S")[entries], signs)


_IQ1_DELTA = np.float32(0.125)


@_reads(GGMLType.IQ1_S)
def _iq1_s(blocks: Bytes) -> Floats:
    """Each 32 values have a word: 3 high bits of four entries, a scale, and the shift's sign."""
    d, low, words = _f16(blocks[:, :2]), blocks[:, 2:34], _view(blocks[:, 34:], "<u2")
    high = words[..., None] >> np.array([0, 3, 6, 9], np.uint16) & 7
    entries = low | high.reshape(len(blocks), 32) << 8
    scale = d * (2 * _floats(words >> 12 & 7) + 1)
    shift = np.where(words & 0x8000, -_IQ1_DELTA, _IQ1_DELTA)
    values = codebook("IQ1")[entries].reshape(len(blocks), 8, 32) + shift[..., None]
    return _scaled(scale, values.reshape(len(blocks), 256))


@_reads(GGMLType.IQ1_M)
def _iq1_m(blocks: Bytes) -> Floats:
    """The float16 scale is spread over the top nibbles of the four words of scales."""
    low, high, words = blocks[:, :32], _fields(blocks[:, 32:48], 4, 1), _view(blocks[:, 48:], "<u2")
    nibbles = words >> 12 << np.array([0, 4, 8, 12], np.uint16)
    d = _floats(np.bitwise_or.reduce(nibbles, axis=1, keepdims=True).view(np.float16))
    scales = words[..., None] >> np.array([0, 3, 6, 9], np.uint16) & 7
    entries = low | (high & 7).astype(np.uint16) << 8
    shift = np.where(high & 8, -_IQ1_DELTA, _IQ1_DELTA)
    values = codebook("IQ1")[entries] + shift[..., None]
    scale = d * (2 * _floats(scales.reshape(len(blocks), 16)) + 1)
    return _scaled(scale, values.reshape(len(blocks), 256))


def _view(data: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return the bytes of each row as another type."""
    return np.ascontiguousarray(data).view(dtype)


def _floats(values: npt.NDArray[Any]) -> Floats:
    return values.astype(np.float32)


def _fields(data: Bytes, width: int, group: int) -> Bytes:
    """Return the fields of `width` bits: of each `group` bytes, all lowest fields come first.

    uint8 [n, k] becomes uint8 [n, k * 8 / width].
    """
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    fields = data.reshape(len(data), -1, 1, group) >> shifts & np.uint8((1 << width) - 1)
    return fields.reshape(len(data), -1)


def _scaled(scale: Floats, values: Floats, offset: Floats | None = None) -> Floats:
    """Multiply each run of values by its scale, and subtract its offset if there is one.

    scale and offset are [n, runs], values [n, runs * run length].
    """
    runs = scale[..., None] * values.reshape(*scale.shape, -1)
    if offset is not None:
        runs -= offset[..., None]
    return runs.reshape(len(values), -1)


def _k_scales(blocks: Bytes) -> tuple[Floats, Floats]:
    """Return the eight scales and offsets of Q4_K and Q5_K, which have 6 bits each in 12 bytes.

    Bytes 0 to 3 hold scales 0 to 3 in their low 6 bits, bytes 4 to 7 offsets 0 to 3. Their high 2
    bits are those of scales and offsets 4 to 7, whose low 4 bits are the nibbles of bytes 8 to 11.
    """
    d, dmin, packed = _f16(blocks[:, :2]), _f16(blocks[:, 2:4]), blocks[:, 4:16]
    low, high, nibbles = packed[:, :8] & 63, packed[:, :8] >> 6 << 4, packed[:, 8:]
    scales = np.concatenate([low[:, :4], nibbles & 15 | high[:, :4]], axis=1)
    offsets = np.concatenate([low[:, 4:], nibbles >> 4 | high[:, 4:]], axis=1)
    return d * _floats(scales), dmin * _floats(offsets)


def _quarter_scales(d: Floats, nibbles: Bytes) -> Floats:
    return d * (_floats(_fields(nibbles, 4, 1)) + np.float32(0.5)) * np.float32(0.25)


def _sign_numbers(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return four numbers of 7 bits from each word: [n, k] becomes [n, 4 * k]."""
    numbers = words[..., None] >> np.array([0, 7, 14, 21], np.uint32) & np.uint32(127)
    return numbers.reshape(len(words), -1)


def _even_signs(numbers: npt.NDArray[Any]) -> Bytes:
    """Return eight signs for 7 bits: the eighth makes the number of minus signs even."""
    bits = np.arange(128, dtype=np.uint8)
    parity = bits ^ bits >> 4
    parity ^= parity >> 2
    parity ^= parity >> 1
    return np.take(bits | parity << np.uint8(7), numbers)


def _signed(scale: Floats, values: npt.NDArray[Any], signs: Bytes) -> Floats:
    """Scale runs of codebook entries, then negate the values whose sign bit is set."""
    flips = 1 - 2 * _floats(_fields(signs, 1, 1))
    return _scaled(scale, values.reshape(len(scale), -1)) * flips
