"""Reads GGUF model files from any buffer, without a copy and without trusting a byte of them.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file is a header (keys with
their values, then one record for each tensor) and the tensors' data. Every count, length and offset
in the header is checked against the file's size before anything is made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ModelFormatError
from .cursor import Cursor, NeedMoreBytesError, quote
from .header import (
    MIN_METADATA_BYTES,
    MIN_TENSOR_BYTES,
    TensorInfo,
    check_layout,
    locate,
    read_metadata,
    read_tensor_records,
    read_version,
)

if TYPE_CHECKING:
    from mmap import mmap

    from .strings import StringKernels

    Buffer = bytes | bytearray | memoryview | mmap
    ReadBytes = Callable[[int, int], memoryview]

__all__ = ["GGUFFile", "TensorInfo", "map_file", "try_parse_header"]

_DEFAULT_ALIGNMENT = 32


class GGUFFile:
    """The parsed and checked header of a GGUF file, and views of its tensors.

    Args:
        buffer: the file, or (with `file_size`) its beginning with at least the header. It is kept,
            and never copied.
        file_size: bytes of the whole file, if `buffer` is only its beginning.
        read: returns bytes after the end of the buffer, by offset and count.
        string_kernels: read long arrays of strings faster.

    Attributes:
        buffer: the buffer as a memoryview of bytes.
        version: 2 or 3.
        alignment: tensor offsets are multiples of this, in bytes.
        metadata: key to int, float, bool, str or list. Each access decodes a new list.
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
            self._parse(Cursor(view, n_bytes, string_kernels))
        except NeedMoreBytesError as need:
            raise ModelFormatError(
                f"the header does not end in the {len(view)} bytes that are here of {file_size}"
            ) from need

    def tensor_data(self, name: str) -> memoryview:
        """Return the raw bytes of a tensor: a view of the buffer."""
        if name not in self.tensors:
            raise ModelFormatError(f"the model has no tensor {quote(name)}")
        return self.data_of(self.tensors[name])

    def data_of(self, info: TensorInfo) -> memoryview:
        """Return the raw bytes of a tensor, or of some rows of one: a view of the buffer."""
        end = info.offset + info.nbytes
        if end > len(self.buffer) and self._read is not None:
            return self._read(info.offset, info.nbytes)
        if end > len(self.buffer):
            raise ModelFormatError(
                f"tensor {quote(info.name)} ends at byte {end}, and only "
                f"{len(self.buffer)} bytes of the file are here so far"
            )
        return self.buffer[info.offset : end]

    def get_int(self, key: str, default: int | None = None) -> int:
        """Return the integer of a key. Without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(key, "an integer", value)
        return value

    def get_float(self, key: str, default: float | None = None) -> float:
        """Return the number of a key. Without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise _wrong_type(key, "a number", value)
        return float(value)

    def get_str(self, key: str, default: str | None = None) -> str:
        """Return the string of a key. Without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise _wrong_type(key, "a string", value)
        return value

    def get_bool(self, key: str, default: bool | None = None) -> bool:
        """Return the boolean of a key. Without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise _wrong_type(key, "a boolean", value)
        return value

    def get_array(self, key: str, default: list[Any] | None = None) -> list[Any]:
        """Return the list of a key. Without a default, a missing key is an error."""
        value = self._get(key, default)
        if not isinstance(value, list):
            raise _wrong_type(key, "an array", value)
        return value

    def _get(self, key: str, default: Any) -> Any:
        if key in self.metadata:
            return self.metadata[key]
        if default is None:
            raise ModelFormatError(f"the model file lacks the metadata key {quote(key)}")
        return default

    def _parse(self, cursor: Cursor) -> None:
        self.version = read_version(cursor)
        n_tensors = cursor.count("tensors", MIN_TENSOR_BYTES)
        n_keys = cursor.count("metadata keys", MIN_METADATA_BYTES)
        self.metadata: Mapping[str, Any] = read_metadata(cursor, n_keys)
        self.alignment = _alignment(self.get_int("general.alignment", _DEFAULT_ALIGNMENT))
        records = read_tensor_records(cursor, n_tensors)
        self.data_start = -(-cursor.position // self.alignment) * self.alignment
        self.tensors = {
            name: locate(name, record, self.data_start, self.alignment)
            for name, record in records.items()
        }
        check_layout(self.tensors, cursor.file_size, self.alignment)


def map_file(file: BinaryIO, access: int) -> mmap:
    """Map an open file into memory; `access` is one of the mmap module's constants.

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
        if isinstance(error.__cause__, NeedMoreBytesError):
            return None
        raise


def _alignment(value: int) -> int:
    if value <= 0 or value & (value - 1):
        raise ModelFormatError(f"general.alignment is {value}, and must be a power of two")
    return value


def _wrong_type(key: str, expected: str, value: Any) -> ModelFormatError:
    return ModelFormatError(
        f"the metadata key {quote(key)} must hold {expected}, and holds {quote(value)}"
    )
