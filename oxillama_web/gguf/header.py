"""The records of a GGUF header: the version, metadata, and where tensors are."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ModelFormatError, UnsupportedModelError
from . import strings
from .cursor import NeedMoreBytesError, quote
from .types import FORMATS, REMOVED_FORMATS, GGMLType

if TYPE_CHECKING:
    from .cursor import Cursor

_UINT8, _INT8, _UINT16, _INT16, _UINT32, _INT32, _FLOAT32, _BOOL = range(8)
_STRING, _ARRAY, _UINT64, _INT64, _FLOAT64 = range(8, 13)
# struct's letter of each value type that has a fixed size
_SCALARS = {
    _UINT8: "B",
    _INT8: "b",
    _UINT16: "H",
    _INT16: "h",
    _UINT32: "I",
    _INT32: "i",
    _FLOAT32: "f",
    _BOOL: "?",
    _UINT64: "Q",
    _INT64: "q",
    _FLOAT64: "d",
}
_MAX_ARRAY_DEPTH = 4
_MAX_DIMENSIONS = 4
# The smallest records have an empty name, which is its length alone, and the fixed fields.
MIN_METADATA_BYTES = 8 + 4 + 1
MIN_TENSOR_BYTES = 8 + 4 + 4 + 8


class TensorInfo(NamedTuple):
    """Where a tensor is in a file, and how to read it.

    Attributes:
        name: the tensor's name.
        shape: in ggml's order: shape[0] moves fastest, and is a matrix's number of input features.
        format: a key of types.FORMATS.
        offset: in bytes, from the start of the file.
        nbytes: the bytes that it takes.
    """

    name: str
    shape: tuple[int, ...]
    format: int
    offset: int
    nbytes: int


class TensorRecord(NamedTuple):
    """A tensor as the header describes it; `offset` counts from the start of the data."""

    shape: tuple[int, ...]
    format: int
    offset: int


def read_version(cursor: Cursor) -> int:
    """Read the magic number and the version, 2 or 3."""
    if cursor.file_size == 0:
        raise ModelFormatError("the file is empty: download it again")
    cursor.need(8, "the start of a GGUF header")
    magic = bytes(cursor.view[:4])
    if magic != b"GGUF":
        old = magic in (b"lmgg", b"fmgg", b"tjgg", b"algg")
        hint = "an older GGML file: get the model as GGUF" if old else "not a GGUF model"
        raise ModelFormatError(f"the file starts with {magic!r} and not with b'GGUF': it is {hint}")
    cursor.position = 4
    (version,) = cursor.unpack("I", "the version")
    if version in (2, 3):
        return int(version)
    if version & 0xFFFF == 0 and version != 0:
        raise UnsupportedModelError(
            "the file is in big-endian byte order: convert it with gguf-convert-endian"
        )
    if version == 1:
        raise UnsupportedModelError(
            "the file is of GGUF version 1, from 2023: get it in version 2 or 3"
        )
    raise UnsupportedModelError(f"GGUF version {version} is unknown: 2 and 3 can be read")


def read_metadata(cursor: Cursor, n_keys: int) -> Mapping[str, Any]:
    """Read all keys and values; arrays are decoded when they are asked for."""
    values: dict[str, Any] = {}
    for _ in range(n_keys):
        key = cursor.name("a metadata key")
        if key in values:
            raise ModelFormatError(
                f"the metadata key {quote(key)} is there twice: the file is broken"
            )
        (kind,) = cursor.unpack("I", f"the type of {quote(key)}")
        values[key] = _read_value(cursor, kind, key)
    return _Metadata(values)


def _read_value(cursor: Cursor, kind: int, key: str) -> Any:
    if kind in _SCALARS:
        return cursor.unpack(_SCALARS[kind], f"the value of {quote(key)}")[0]
    if kind == _STRING:
        # a description cut inside a character is no reason to refuse a model
        raw = cursor.string(f"the value of {quote(key)}")
        return str(raw, "utf-8", "replace")
    if kind == _ARRAY:
        return _read_array(cursor, key, 1)
    raise _unknown_type(kind, key)


def _read_array(cursor: Cursor, key: str, depth: int) -> _Array:
    """Note where an array is, and move to its end."""
    if depth > _MAX_ARRAY_DEPTH:
        raise ModelFormatError(f"{quote(key)} nests arrays more than {_MAX_ARRAY_DEPTH} deep")
    (kind,) = cursor.unpack("I", f"the item type of {quote(key)}")
    if kind in _SCALARS:
        letter = _SCALARS[kind]
        size = struct.calcsize("<" + letter)
        count = cursor.count(f"items of {quote(key)}", size)
        start = cursor.position
        cursor.need(count * size, f"the value of {quote(key)}")
        cursor.position += count * size
        return _Array(partial(_decode_numbers, cursor.view, start, count, letter))
    if kind == _STRING:
        count = cursor.count(f"strings of {quote(key)}", 8)
        start = cursor.position
        _skip_strings(cursor, count, key)
        place = cursor.view, start, cursor.position, count
        return _Array(partial(strings.decode, *place, cursor.string_kernels))
    if kind == _ARRAY:
        count = cursor.count(f"arrays of {quote(key)}", 12)
        inner = [_read_array(cursor, key, depth + 1) for _ in range(count)]
        return _Array(lambda: [array.decode() for array in inner])
    raise _unknown_type(kind, key)


def _skip_strings(cursor: Cursor, count: int, key: str) -> None:
    """Walk over `count` strings."""
    view = cursor.view
    index, position = strings.skip(view, cursor.position, count, cursor.string_kernels)
    length = 0
    if index < count and position + 8 <= len(view):
        (length,) = struct.unpack_from("<Q", view, position)
        index, position = index + 1, position + 8 + length
    if position > cursor.file_size or (index < count and position + 8 > cursor.file_size):
        raise ModelFormatError(
            f"string {max(index - 1, 0)} of {quote(key)} is {length} bytes long, and the file of "
            f"{cursor.file_size} bytes has no room for it or for the next: it is truncated or "
            "broken; is the download complete?"
        )
    if index < count or position > len(view):
        raise NeedMoreBytesError
    cursor.position = position


def _decode_numbers(view: memoryview, start: int, count: int, letter: str) -> list[Any]:
    return list(struct.unpack_from(f"<{count}{letter}", view, start))


def read_tensor_records(cursor: Cursor, n_tensors: int) -> dict[str, TensorRecord]:
    """Read the records of all tensors, by name."""
    records: dict[str, TensorRecord] = {}
    for _ in range(n_tensors):
        name = cursor.name("a tensor's name")
        if name in records:
            raise ModelFormatError(f"tensor {quote(name)} is there twice: the file is broken")
        (n_dimensions,) = cursor.unpack("I", f"the dimensions of tensor {quote(name)}")
        if n_dimensions > _MAX_DIMENSIONS:
            raise ModelFormatError(
                f"tensor {quote(name)} has {n_dimensions} dimensions, and at most "
                f"{_MAX_DIMENSIONS} are possible: the file is broken"
            )
        # a tensor without dimensions is one value
        shape = cursor.unpack(f"{n_dimensions}Q", f"the shape of tensor {quote(name)}") or (1,)
        number, offset = cursor.unpack("IQ", f"the place of tensor {quote(name)}")
        records[name] = TensorRecord(shape, number, offset)
    return records


def locate(name: str, record: TensorRecord, data_start: int, alignment: int) -> TensorInfo:
    """Check a record, and return where its tensor is in the file."""
    shape, number, offset = record
    known = FORMATS.get(number)
    if known is None:
        old = REMOVED_FORMATS.get(number)
        raise UnsupportedModelError(
            f"tensor {quote(name)} has the format {old}, which was given up: get another file"
            if old
            else f"tensor {quote(name)} has the unknown format number {number}"
        )
    if shape[0] % known.block_size:
        raise ModelFormatError(
            f"tensor {quote(name)} has rows of {shape[0]} values, and {known.name} needs a "
            f"multiple of {known.block_size}: the file is broken"
        )
    n_elements = math.prod(shape)
    if not 0 < n_elements < 1 << 63:
        raise ModelFormatError(f"tensor {quote(name)} has the impossible shape {shape}")
    if offset % alignment:
        raise ModelFormatError(
            f"tensor {quote(name)} starts at byte {offset} of the data, which is no multiple of "
            f"the alignment {alignment}: the file is broken"
        )
    n_bytes = n_elements // known.block_size * known.block_bytes
    return TensorInfo(name, shape, number, data_start + offset, n_bytes)


def check_layout(tensors: dict[str, TensorInfo], file_size: int, alignment: int) -> None:
    """Refuse tensors that overlap, or that end after the file."""
    in_order = sorted(tensors.values(), key=lambda info: info.offset)
    for info, following in pairwise(in_order):
        if info.offset + info.nbytes > following.offset:
            _refuse_early_q2_0(info, following.offset, alignment)
            raise ModelFormatError(
                f"tensors {quote(info.name)} and {quote(following.name)} overlap: the file is "
                "broken"
            )
    if in_order and in_order[-1].offset + in_order[-1].nbytes > file_size:
        last = in_order[-1]
        _refuse_early_q2_0(last, file_size, alignment)
        raise ModelFormatError(
            f"the file is truncated: its tensors end at byte {last.offset + last.nbytes}, and it "
            f"has {file_size} bytes: is the download complete?"
        )


def _refuse_early_q2_0(info: TensorInfo, end: int, alignment: int) -> None:
    """Refuse a tensor whose blocks are as they were before ggml had the format: 128 weights.

    Args:
        end: where the next tensor starts.
    """
    n_blocks, rest = divmod(math.prod(info.shape), 128)
    early_end = info.offset + 34 * n_blocks
    if info.format == GGMLType.Q2_0 and rest == 0 and early_end <= end < early_end + alignment:
        raise UnsupportedModelError(
            f"tensor {quote(info.name)} is Q2_0 with a scale for each 128 weights, an early form; "
            "ggml's Q2_0 has one for each 64: get a newer file of this model"
        )


class _Array(NamedTuple):
    """An array in the header, not decoded yet."""

    decode: Callable[[], list[Any]]


class _Metadata(Mapping[str, Any]):
    """Keys and values in the file's order. Arrays become new lists at each access."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return value.decode() if isinstance(value, _Array) else value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _unknown_type(kind: int, key: str) -> ModelFormatError:
    return ModelFormatError(f"{quote(key)} has the unknown value type {kind}: the file is broken")
