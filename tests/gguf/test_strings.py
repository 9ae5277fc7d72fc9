"""Strings of a GGUF header, with the kernels and without them."""

from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from linear_driver import Block, libraries, load

from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.kernels.strings import KernelStrings
from oxillama_web.gguf import strings as gguf_strings
from oxillama_web.gguf.strings import StringKernels, decode, skip

MANY = gguf_strings._MIN_STRINGS
STRINGS = st.lists(st.binary(max_size=12), max_size=20)


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


@pytest.fixture(params=["kernels", "python"])
def kernels(request: pytest.FixtureRequest) -> StringKernels | None:
    return KernelStrings(load_library()) if request.param == "kernels" else None


def encoded(strings: list[bytes]) -> bytes:
    return b"".join(struct.pack("<Q", len(string)) + string for string in strings)


@pytest.mark.parametrize("n_window_bytes", [64, 1 << 18])
@pytest.mark.parametrize(
    "odd",
    [b"", b"\0", b"a\0b", b"\xff\xfe", "ü€😀".encode(), "😀".encode()[:2], b"x" * 100, b"\n"],
)
def test_strings_of_any_kind_are_decoded(
    odd: bytes, n_window_bytes: int, kernels: StringKernels | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_strings, "_WINDOW_BYTES", n_window_bytes)
    strings = [f"token {i}".encode() for i in range(MANY)]
    strings.insert(MANY // 2, odd)
    data = b"before" + encoded(strings) + b"after"
    view, end = memoryview(data), len(data) - len("after")
    assert skip(view, 6, len(strings), kernels) == (len(strings), end)
    expected = [string.decode(errors="surrogateescape") for string in strings]
    assert decode(view, 6, end, len(strings), kernels) == expected


@pytest.mark.parametrize("n_missing", [1, 7, 8, 9, 20])
def test_strings_that_are_not_whole_are_not_counted(
    n_missing: int, kernels: StringKernels | None
) -> None:
    strings = [b"1234567"] * (MANY + 1)  # of 15 bytes each
    data = encoded(strings)[:-n_missing]
    whole = len(data) // 15
    assert skip(memoryview(data), 0, len(strings), kernels) == (whole, 15 * whole)


@pytest.mark.parametrize("length", [2**64 - 1, 2**64 - 8, 2**63, 2**32])
def test_an_impossible_length_ends_the_walk(length: int, kernels: StringKernels | None) -> None:
    data = encoded([b"abc"] * MANY) + struct.pack("<Q", length) + b"text"
    assert skip(memoryview(data), 0, 2**40, kernels) == (MANY, 11 * MANY)


@given(strings=STRINGS, after=st.binary(max_size=20), more=st.integers(0, 2**64 - 21))
@example(strings=[], after=b"", more=1)
@example(strings=[b"a"], after=b"\xff" * 8, more=2)
@example(strings=[b"a"], after=b"\xf0" + b"\xff" * 7 + b"xyz", more=1)
def test_the_kernel_walks_as_far_as_strings_are_whole(
    library: ctypes.CDLL, strings: list[bytes], after: bytes, more: int
) -> None:
    data = encoded(strings) + after
    count, position = 0, 0
    while count < len(strings) + more and position + 8 <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        if position + 8 + length > len(data):
            break
        count, position = count + 1, position + 8 + length
    end = ctypes.c_uint64(99)
    found = call(library.ox_skip_strings, data, len(strings) + more, ctypes.addressof(end))
    assert (found, end.value) == (count, position)


@given(strings=STRINGS, n_missing=st.integers(0, 3))
@example(strings=[b"a\0"], n_missing=0)
def test_the_kernel_joins_whole_strings_without_zeros(
    library: ctypes.CDLL, strings: list[bytes], n_missing: int
) -> None:
    data = encoded(strings)
    data = data[: max(len(data) - n_missing, 0)]
    text = Block(max(len(data), 1))
    n_text = call(library.ox_join_strings, data, len(strings), text.address)
    if (n_missing and strings) or any(b"\0" in string for string in strings):
        assert n_text == 0
        return
    expected = b"".join(string + b"\0" for string in strings)
    assert ctypes.string_at(text.address, n_text) == expected


def call(function: ctypes._FuncPointer, data: bytes, n_strings: int, result: int) -> int:
    block = Block(max(len(data), 1), data)
    pointer, number = ctypes.c_void_p, ctypes.c_uint64
    function.argtypes, function.restype = [pointer, number, number, pointer], number
    return int(function(block.address, len(data), n_strings, result))
