"""Where the bytes of a model are, and how to read any of them.

A model is one GGUF file, or several (shards.py) that follow one another here, each at a multiple of
64 bytes. All offsets count from the start of the first file.
"""

from __future__ import annotations

import ctypes
import os
import sys
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ModelFormatError
from .reader import try_parse_header
from .shards import merge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .reader import Buffer, GGUFFile
    from .strings import StringKernels


_HAS_PREADV = hasattr(os, "preadv") and sys.platform != "emscripten"


class Destination(Protocol):
    """Memory that a source copies bytes into, such as a block of a device."""

    @property
    def address(self) -> int:
        """The address of the first byte."""

    def write(self, offset: int, data: Any) -> None:
        """Copy the bytes of a buffer into the memory."""


class NotHereYetError(Exception):
    """The model is still on its way: a read needs its first `end` bytes."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


class ModelSource(ABC):
    """The bytes of a model.

    Attributes:
        starts: where each of its files begins.
        n_bytes: the size of all of them.
        n_received: how many of the first bytes can be read; all, unless the model is still on its
            way.
        address: where the first byte is in the memory of the device that runs the model, if the
            weights may be packed right there; None if they must be copied.
        folder: where a tokenizer.json may be, if the model is a file.
        header_bytes: how many bytes of a file to look for its header in at first. Where `read`
            copies, more is more memory.
    """

    starts: Sequence[int] = (0,)
    n_bytes: int
    n_received: int
    address: int | None = None
    folder: Path | None = None
    header_bytes = 1 << 20

    @abstractmethod
    def read(self, offset: int, n_bytes: int) -> memoryview:
        """Return bytes of the model, or a copy of them.

        Raises:
            NotHereYetError: they have not arrived.
            OSError: they cannot be read.
        """

    def read_into(self, target: Destination, at: int, offset: int, n_bytes: int) -> None:
        """Copy bytes of the model to offset `at` of some memory.

        Raises:
            NotHereYetError, OSError: as `read`.
        """
        target.write(at, self.read(offset, n_bytes))

    def open(self, string_kernels: StringKernels | None = None) -> GGUFFile:
        """Parse the headers of all files.

        Args:
            string_kernels: see GGUFFile.

        Raises:
            ModelFormatError, UnsupportedModelError: a file is broken, or they do not belong
                together.
            NotHereYetError, OSError: as `read`.
        """
        bounds = [*self.starts, self.n_bytes]
        parts = [self._open_part(start, end, string_kernels) for start, end in pairwise(bounds)]
        return merge(parts, self.starts)

    def _open_part(self, start: int, end: int, string_kernels: StringKernels | None) -> GGUFFile:
        n_here = max(min(self.n_received, end) - start, 0)
        n_prefix = min(self.header_bytes, n_here)
        while True:
            prefix = self.read(start, n_prefix) if n_prefix else b""
            part = try_parse_header(prefix, end - start, self.read, string_kernels)
            if part is not None:
                return part
            if n_prefix == n_here:
                raise NotHereYetError(start + max(2 * n_prefix, self.header_bytes))
            n_prefix = min(2 * n_prefix, n_here)


class MemorySource(ModelSource):
    """A model in this process's memory, or mapped into it."""

    def __init__(
        self,
        data: Buffer,
        starts: Sequence[int] = (0,),
        *,
        consume: bool = False,
        folder: Path | None = None,
    ) -> None:
        """Take the bytes of a model.

        Args:
            consume: they may be kept and, if they are writable, overwritten.
        """
        self._view = memoryview(data).cast("B")
        self.starts = starts
        self.n_bytes = self.n_received = self.header_bytes = len(self._view)
        self.folder = folder
        if consume and not self._view.readonly and self.n_bytes:
            self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._view))

    def read(self, offset: int, n_bytes: int) -> memoryview:
        """See `ModelSource.read`: a view."""
        return self._view[offset : offset + n_bytes]


class FileSource(ModelSource):
    """A model in a file, which stays on disk."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ModelFormatError: it is empty.
            OSError: it cannot be opened.
        """
        from threading import Lock  # a page starts sooner without it

        self._file = path.open("rb", buffering=0)
        self._lock = Lock()
        self.n_bytes = self.n_received = path.stat().st_size
        self.folder = path.parent
        if self.n_bytes == 0:
            raise ModelFormatError(f"{path} is empty; download it again")

    def read(self, offset: int, n_bytes: int) -> memoryview:
        """See `ModelSource.read`: a copy."""
        data = memoryview(bytearray(n_bytes))
        self._fill(data, offset)
        return data

    def read_into(self, target: Destination, at: int, offset: int, n_bytes: int) -> None:
        """See `ModelSource.read_into`; `target` is memory of this process."""
        array = (ctypes.c_char * n_bytes).from_address(target.address + at)
        self._fill(memoryview(array).cast("B"), offset)

    def _fill(self, rest: memoryview, offset: int) -> None:
        end = offset + len(rest)
        while rest:
            n_read = self._read_some(rest, end - len(rest))
            if not n_read:
                raise OSError(f"{self._file.name} ends before byte {end}")
            rest = rest[n_read:]

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        if _HAS_PREADV:  # a child process shares the file's position with its parent
            return os.preadv(self._file.fileno(), [buffer], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0
