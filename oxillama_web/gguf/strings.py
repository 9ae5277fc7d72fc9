"""Arrays of strings in a GGUF header: of each its length, a little-endian uint64, and its bytes.

A vocabulary has some hundred thousand of them, over which the kernels walk in a millisecond where
Python takes thirty or, in a browser, a hundred.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# fewer are not worth opening the kernels
_MANY = 256
# of the header are copied for the kernels at a time
_WINDOW_BYTES = 1 << 18


def skip(view: memoryview, start: int, count: int) -> tuple[int, int]:
    """Walks over the strings at `start`.

    Returns:
        How many of them are whole in `view`, `count` at most, and where the last of those ends.
    """
    found, position = 0, start
    for _, n_strings, n_bytes in _windows(view, start, count):
        found, position = found + n_strings, position + n_bytes
    read_length = struct.Struct("<Q").unpack_from
    for index in range(found, count):
        if position + 8 > len(view):
            return index, position
        end = position + 8 + read_length(view, position)[0]
        if end > len(view):
            return index, position
        position = end
    return count, position


def decode(view: memoryview, start: int, end: int, count: int) -> list[str]:
    """The strings from `start` to `end`.

    Bytes that are not UTF-8 become lone surrogates (the error handler "surrogateescape").
    """
    strings: list[str] = []
    for window, n_strings, n_bytes in _windows(view[:end], start, count):
        text = ctypes.create_string_buffer(n_bytes)
        n_text = _kernels().ox_join_strings(window, n_bytes, n_strings, text)
        if n_text == 0:  # one of them has a 0 in it
            break
        joined = str(memoryview(text)[: n_text - 1], "utf-8", "surrogateescape")
        strings += joined.split("\0")
        start += n_bytes
    return strings + _decode_slowly(bytes(view[start:end]), count - len(strings))


def _windows(view: memoryview, start: int, count: int) -> Iterator[tuple[bytes, int, int]]:
    """The beginning of what is left, how many strings are whole in it, and how many bytes long.

    Ends before the first string that is not whole in `view` or in a window.
    """
    kernels = _kernels() if count >= _MANY else None
    end = ctypes.c_uint64()
    while kernels is not None and count > 0:
        window = bytes(view[start : start + _WINDOW_BYTES])
        n_strings = kernels.ox_skip_strings(window, len(window), count, ctypes.byref(end))
        if n_strings == 0:
            break
        yield window, n_strings, end.value
        count, start = count - n_strings, start + end.value


def _decode_slowly(data: bytes, count: int) -> list[str]:
    read_length = struct.Struct("<Q").unpack_from
    strings = []
    position = 0
    for _ in range(count):
        start = position + 8
        position = start + read_length(data, position)[0]
        strings.append(data[start:position].decode(errors="surrogateescape"))
    return strings


@cache
def _kernels() -> Any:
    """The functions of the kernel library; None where there is none."""
    from ..backends.kernels.library import any_library
    from ..errors import KernelError

    try:
        return any_library().functions
    except KernelError:
        return None
