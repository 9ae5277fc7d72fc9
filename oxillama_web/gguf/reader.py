"""Reads GGUF model files from any buffer, without copying and without trusting a byte of them.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file is a header (key/value
metadata, then one record a tensor) and the tensors' data. Every count, length and offset in the
header is checked against the file's size before anything is made from it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..errors import ModelFormatError, UnsupportedModelError
from . import strings
from .types import FORMATS, REMOVED_FORMATS

if TYPE_CHECKING:
    from mmap import mmap

    from .strings import StringKernels

    Buffer = bytes | bytearray | memoryview | mmap
    ReadBytes = Callable[[int, int], memoryview]

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
_MAX_NAME_BYTES = 65535
_MAX_ARRAY_DEPTH = 4
_MAX_DIMENSIONS = 4
_DEFAULT_ALIGNMENT = 32
# the least that a record takes: an empty name's length and the fixed fields
_LEAST_METADATA_BYTES = 8 + 4 + 1
_LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8


class TensorInfo(NamedTuple):
    """Where a tensor lies and how to read it.

    `shape` is in ggml's order: shape[0] moves fastest, and is a matrix's number of input features.
    `format` is a key of quants.FORMATS; `offset` counts bytes from the start of the file.
    """

    name: str
    shape: tuple[int, ...]
    format: int
    offset: int
    nbytes: int


class GGUFFile:
    """The parsed and checked header of a GGUF file, and views of its tensors.

    Args:
        buffer: the file, or (with `file_size`) its beginning; it is kept, and never copied.
        file_size: bytes of the whole file, if `buffer` is only its beginning; the buffer must hold
            at least the header.
        read: returns bytes after the end of the buffer, by offset and count.
        string_kernels: read long arrays of strings faster.

    Attributes:
        buffer: the buffer as a memoryview of bytes.
        version: 2 or 3.
        alignment: what tensor offsets are multiples of, in bytes.
        metadata: key to int, float, bool, str or list. A list is decoded anew at each access.
        tensors: name to TensorInfo, in the file's order.
        data_start: bytes of the header, padding included.

    Raises:
        ModelFormatError: the file is broken, truncated, or not GGUF.
        UnsupportedModelError: a version, byte order or tensor format that cannot be read.
    """

    def __init__(
        self,
        buffer: Buffer,
        file_size: int | None = None,
        read: ReadBytes | None = None,
        string_kernels: StringKernels | None = None,
    ) -> None:
        view = memoryview(buffer).cast("B")
        self.buffer = view
        self._read = read
        n_bytes = len(view) if file_size is None else file_size
        try:
            self._parse(_Reader(view, n_bytes, string_kernels))
        except _NeedMoreBytesError as need:
            raise ModelFormatError(
                f"the header does not end in the {len(view)} bytes that are here of {file_size}"
            ) from need

    def tensor_data(self, name: str) -> memoryview:
        """The raw bytes of a tensor: a view of the buffer."""
        if name not in self.tensors:
            raise ModelFormatError(f"the model has no tensor {_quote(name)}")
        return self.data_of(self.tensors[name])

    def data_of(self, info: TensorInfo) -> memoryview:
        """The raw bytes of a tensor, or of some rows of one: a view of the buffer."""
        end = info.offset + info.nbytes
        if end > len(self.buffer) and self._read is not None:
            return self._read(info.offset, info.nbytes)
        if end > len(self.buffer):
            raise ModelFormatError(
                f"tensor {_quote(info.name)} ends at byte {end}, and only "
                f"{len(self.buffer)} bytes of the file are here so far"
            )
        return self.buffer[info.offset : end]

    def get_int(self, key: str, default: int | None = None) -> int:
        """The integer of a key; without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(key, "an integer", value)
        return value

    def get_float(self, key: str, default: float | None = None) -> float:
        """The number of a key; without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise _wrong_type(key, "a number", value)
        return float(value)

    def get_str(self, key: str, default: str | None = None) -> str:
        """The string of a key; without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise _wrong_type(key, "a string", value)
        return value

    def get_bool(self, key: str, default: bool | None = None) -> bool:
        """The truth value of a key; without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise _wrong_type(key, "a boolean", value)
        return value

    def get_array(self, key: str, default: list[Any] | None = None) -> list[Any]:
        """The list of a key; without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, list):
            raise _wrong_type(key, "an array", value)
        return value

    def _get(self, key: str, default: Any) -> Any:
        if key in self.metadata:
            return self.metadata[key]
        if default is None:
            raise ModelFormatError(f"the model file lacks the metadata key {_quote(key)}")
        return default

    def _parse(self, reader: _Reader) -> None:
        self.version = _read_version(reader)
        n_tensors = reader.count("tensors", _LEAST_TENSOR_BYTES)
        n_keys = reader.count("metadata keys", _LEAST_METADATA_BYTES)
        self.metadata: Mapping[str, Any] = _read_metadata(reader, n_keys)
        self.alignment = _alignment(self.get_int("general.alignment", _DEFAULT_ALIGNMENT))
        records = _read_tensor_records(reader, n_tensors)
        self.data_start = -(-reader.position // self.alignment) * self.alignment
        self.tensors = {
            name: _locate(name, shape, number, offset, self.data_start, self.alignment)
            for name, (shape, number, offset) in records.items()
        }
        _check_layout(self.tensors, reader.file_size)


def map_file(file: BinaryIO, access: int) -> mmap:
    """Maps an open file into memory; `access` is one of the mmap module's constants.

    Raises:
        ModelFormatError: it is empty.
        OSError: it cannot be mapped.
    """
    from mmap import mmap

    try:
        return mmap(file.fileno(), 0, access=access)
    except ValueError as error:
        raise ModelFormatError(f"{file.name} is empty; download it again") from error


def try_parse_header(
    prefix: Buffer,
    file_size: int,
    read: ReadBytes | None = None,
    string_kernels: StringKernels | None = None,
) -> GGUFFile | None:
    """Parse the header from the beginning of a file; return None if more bytes are needed.

    Tensors can be laid out this way while a download still runs. Each try starts at the file's
    first byte: wait until the prefix has doubled before trying again. A broken header is an error
    at the first byte that shows it, not after the last.
    """
    try:
        return GGUFFile(prefix, file_size, read, string_kernels)
    except ModelFormatError as error:
        if isinstance(error.__cause__, _NeedMoreBytesError):
            return None
        raise


class _NeedMoreBytesError(Exception):
    """The header goes on after the bytes that are here, within the file's size."""


class _Reader:
    """A position in the header; each read is checked against the file's size first."""

    def __init__(
        self, view: memoryview, file_size: int, string_kernels: StringKernels | None
    ) -> None:
        self.view = view
        self.file_size = file_size
        self.string_kernels = string_kernels
        self.position = 0

    def need(self, n_bytes: int, what: str) -> None:
        """Makes sure that the next n_bytes are here."""
        end = self.position + n_bytes
        if end > self.file_size:
            raise ModelFormatError(
                f"{what} at byte {self.position} takes {n_bytes} bytes, and the file has only "
                f"{self.file_size}: it is truncated or broken; is the download complete?"
            )
        if end > len(self.view):
            raise _NeedMoreBytesError

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        """Reads little-endian values of struct's `layout`."""
        n_bytes = struct.calcsize("<" + layout)
        self.need(n_bytes, what)
        values = struct.unpack_from("<" + layout, self.view, self.position)
        self.position += n_bytes
        return values

    def count(self, what: str, least_bytes: int) -> int:
        """Reads a 64-bit count of things that take at least `least_bytes` each."""
        start = self.position
        (n,) = self.unpack("Q", f"the number of {what}")
        if n * least_bytes > self.file_size - self.position:
            raise ModelFormatError(
                f"the file of {self.file_size} bytes claims {n} {what} at byte {start}: it is "
                "truncated or broken; is the download complete?"
            )
        return int(n)

    def name(self, what: str) -> str:
        """Reads the name of a key or a tensor."""
        start = self.position
        raw = self.string(what)
        if len(raw) > _MAX_NAME_BYTES:
            raise ModelFormatError(
                f"{what} at byte {start} is {len(raw)} bytes long, and {_MAX_NAME_BYTES} is the "
                "most: the file is broken"
            )
        try:
            name = str(raw, "utf-8")
        except UnicodeDecodeError:
            raise ModelFormatError(
                f"{what} at byte {start} is not UTF-8: the file is broken"
            ) from None
        if not name:
            raise ModelFormatError(f"{what} at byte {start} is empty: the file is broken")
        return name

    def string(self, what: str) -> memoryview:
        """Reads a 64-bit length and that many bytes."""
        (n,) = self.unpack("Q", f"the length of {what}")
        self.need(n, what)
        self.position += n
        return self.view[self.position - n : self.position]


class _Array(NamedTuple):
    """An array in the header, decoded when asked for."""

    decode: Callable[[], list[Any]]


class _Metadata(Mapping[str, Any]):
    """Keys and values in the file's order; arrays become lists on access."""

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


def _read_version(reader: _Reader) -> int:
    if reader.file_size == 0:
        raise ModelFormatError("the file is empty: download it again")
    reader.need(8, "the start of a GGUF header")
    magic = bytes(reader.view[:4])
    if magic != b"GGUF":
        old = magic in (b"lmgg", b"fmgg", b"tjgg", b"algg")
        hint = "an older GGML file: get the model as GGUF" if old else "not a GGUF model"
        raise ModelFormatError(f"the file starts with {magic!r} and not with b'GGUF': it is {hint}")
    reader.position = 4
    (version,) = reader.unpack("I", "the version")
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


def _read_metadata(reader: _Reader, n_keys: int) -> _Metadata:
    values: dict[str, Any] = {}
    for _ in range(n_keys):
        key = reader.name("a metadata key")
        if key in values:
            raise ModelFormatError(
                f"the metadata key {_quote(key)} is there twice: the file is broken"
            )
        (kind,) = reader.unpack("I", f"the type of {_quote(key)}")
        values[key] = _read_value(reader, kind, key)
    return _Metadata(values)


def _read_value(reader: _Reader, kind: int, key: str) -> Any:
    if kind in _SCALARS:
        return reader.unpack(_SCALARS[kind], f"the value of {_quote(key)}")[0]
    if kind == _STRING:
        # a description cut inside a character is no reason to refuse a model
        raw = reader.string(f"the value of {_quote(key)}")
        return str(raw, "utf-8", "replace")
    if kind == _ARRAY:
        return _read_array(reader, key, 1)
    raise _unknown_type(kind, key)


def _read_array(reader: _Reader, key: str, depth: int) -> _Array:
    """Notes where an array is and moves to its end."""
    if depth > _MAX_ARRAY_DEPTH:
        raise ModelFormatError(f"{_quote(key)} nests arrays more than {_MAX_ARRAY_DEPTH} deep")
    (kind,) = reader.unpack("I", f"the item type of {_quote(key)}")
    if kind in _SCALARS:
        letter = _SCALARS[kind]
        size = struct.calcsize("<" + letter)
        count = reader.count(f"items of {_quote(key)}", size)
        start = reader.position
        reader.need(count * size, f"the value of {_quote(key)}")
        reader.position += count * size
        return _Array(partial(_decode_numbers, reader.view, start, count, letter))
    if kind == _STRING:
        count = reader.count(f"strings of {_quote(key)}", 8)
        start = reader.position
        _skip_strings(reader, count, key)
        place = reader.view, start, reader.position, count
        return _Array(partial(strings.decode, *place, reader.string_kernels))
    if kind == _ARRAY:
        count = reader.count(f"arrays of {_quote(key)}", 12)
        inner = [_read_array(reader, key, depth + 1) for _ in range(count)]
        return _Array(lambda: [array.decode() for array in inner])
    raise _unknown_type(kind, key)


def _skip_strings(reader: _Reader, count: int, key: str) -> None:
    """Walks over `count` strings."""
    view = reader.view
    index, position = strings.skip(view, reader.position, count, reader.string_kernels)
    length = 0
    if index < count and position + 8 <= len(view):
        (length,) = struct.unpack_from("<Q", view, position)
        index, position = index + 1, position + 8 + length
    if position > reader.file_size or (index < count and position + 8 > reader.file_size):
        raise ModelFormatError(
            f"string {max(index - 1, 0)} of {_quote(key)} is {length} bytes long, and the file of "
            f"{reader.file_size} bytes has no room for it or for the next: it is truncated or "
            "broken; is the download complete?"
        )
    if index < count or position > len(view):
        raise _NeedMoreBytesError
    reader.position = position


def _decode_numbers(view: memoryview, start: int, count: int, letter: str) -> list[Any]:
    return list(struct.unpack_from(f"<{count}{letter}", view, start))


def _alignment(value: int) -> int:
    if value <= 0 or value & (value - 1):
        raise ModelFormatError(f"general.alignment is {value}, and must be a power of two")
    return value


def _read_tensor_records(
    reader: _Reader, n_tensors: int
) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Name to (shape, format number, offset into the data)."""
    records: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(n_tensors):
        name = reader.name("a tensor's name")
        if name in records:
            raise ModelFormatError(f"tensor {_quote(name)} is there twice: the file is broken")
        (n_dimensions,) = reader.unpack("I", f"the dimensions of tensor {_quote(name)}")
        if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
            raise ModelFormatError(
                f"tensor {_quote(name)} has {n_dimensions} dimensions, and 1 to {_MAX_DIMENSIONS} "
                "are possible: the file is broken"
            )
        shape = reader.unpack(f"{n_dimensions}Q", f"the shape of tensor {_quote(name)}")
        number, offset = reader.unpack("IQ", f"the place of tensor {_quote(name)}")
        records[name] = shape, number, offset
    return records


def _locate(
    name: str, shape: tuple[int, ...], number: int, offset: int, data_start: int, alignment: int
) -> TensorInfo:
    known = FORMATS.get(number)
    if known is None:
        old = REMOVED_FORMATS.get(number)
        raise UnsupportedModelError(
            f"tensor {_quote(name)} has the format {old}, which was given up: get another file"
            if old
            else f"tensor {_quote(name)} has the unknown format number {number}"
        )
    if shape[0] % known.block_size:
        raise ModelFormatError(
            f"tensor {_quote(name)} has rows of {shape[0]} values, and {known.name} needs a "
            f"multiple of {known.block_size}: the file is broken"
        )
    n_elements = math.prod(shape)
    if not 0 < n_elements < 1 << 63:
        raise ModelFormatError(f"tensor {_quote(name)} has the impossible shape {shape}")
    if offset % alignment:
        raise ModelFormatError(
            f"tensor {_quote(name)} starts at byte {offset} of the data, which is no multiple of "
            f"the alignment {alignment}: the file is broken"
        )
    n_bytes = n_elements // known.block_size * known.block_bytes
    return TensorInfo(name, shape, number, data_start + offset, n_bytes)


def _check_layout(tensors: dict[str, TensorInfo], file_size: int) -> None:
    """No tensor may overlap another, nor end after the file."""
    previous = None
    for info in sorted(tensors.values(), key=lambda info: info.offset):
        if previous is not None and info.offset < previous.offset + previous.nbytes:
            raise ModelFormatError(
                f"tensors {_quote(previous.name)} and {_quote(info.name)} overlap: the file is "
                "broken"
            )
        previous = info
    if previous is not None and previous.offset + previous.nbytes > file_size:
        raise ModelFormatError(
            f"the file is truncated: its tensors end at byte {previous.offset + previous.nbytes}, "
            f"and it has {file_size} bytes: is the download complete?"
        )


def _wrong_type(key: str, expected: str, value: Any) -> ModelFormatError:
    return ModelFormatError(
        f"the metadata key {_quote(key)} must hold {expected}, and holds {_quote(value)}"
    )


def _unknown_type(kind: int, key: str) -> ModelFormatError:
    return ModelFormatError(f"{_quote(key)} has the unknown value type {kind}: the file is broken")


def _quote(value: object) -> str:
    """For messages: a broken file may hold a name as long as a book."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
