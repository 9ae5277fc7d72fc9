"""A position in the header of a GGUF file, every read of which is checked first."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ..errors import ModelFormatError

if TYPE_CHECKING:
    from .strings import StringKernels

_MAX_NAME_BYTES = 65535


class NeedMoreBytesError(Exception):
    """The header continues after the bytes that are here, within the file's size."""


class Cursor:
    """Reads little-endian values from the beginning of a file.

    Args:
        view: the bytes that are here.
        file_size: bytes of the whole file.
        string_kernels: see GGUFFile.
    """

    def __init__(
        self, view: memoryview, file_size: int, string_kernels: StringKernels | None
    ) -> None:
        self.view = view
        self.file_size = file_size
        self.string_kernels = string_kernels
        self.position = 0

    def need(self, n_bytes: int, what: str) -> None:
        """Check that the next n_bytes are here.

        Args:
            what: they hold, for messages.

        Raises:
            ModelFormatError: the file is too short for them.
            NeedMoreBytesError: they have not come yet.
        """
        end = self.position + n_bytes
        if end > self.file_size:
            raise ModelFormatError(
                f"{what} at byte {self.position} takes {n_bytes} bytes, and the file has only "
                f"{self.file_size}: it is truncated or broken; is the download complete?"
            )
        if end > len(self.view):
            raise NeedMoreBytesError

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        """Read the values of a `layout` of the struct module."""
        n_bytes = struct.calcsize("<" + layout)
        self.need(n_bytes, what)
        values = struct.unpack_from("<" + layout, self.view, self.position)
        self.position += n_bytes
        return values

    def count(self, what: str, min_bytes: int) -> int:
        """Read a 64-bit count of items that take at least `min_bytes` each."""
        start = self.position
        (n,) = self.unpack("Q", f"the number of {what}")
        if n * min_bytes > self.file_size - self.position:
            raise ModelFormatError(
                f"the file of {self.file_size} bytes claims {n} {what} at byte {start}: it is "
                "truncated or broken; is the download complete?"
            )
        return int(n)

    def name(self, what: str) -> str:
        """Read the name of a key or a tensor."""
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
        """Read a 64-bit length and that many bytes."""
        (n,) = self.unpack("Q", f"the length of {what}")
        self.need(n, what)
        self.position += n
        return self.view[self.position - n : self.position]


def quote(value: object) -> str:
    """Return a value for a message. A broken file may hold a name as long as a book."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
