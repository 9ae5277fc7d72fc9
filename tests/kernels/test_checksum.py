"""The checksum kernel against the reference implementation of XXH64."""

from __future__ import annotations

import ctypes

import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st
from linear_driver import Block, libraries, load


@pytest.fixture(scope="module", params=libraries())
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return load(request.param)


@given(data=st.binary(max_size=200))
@example(data=b"")
@example(data=bytes(range(256)) * 33 + b"abc")
def test_checksum_is_xxh64(library: ctypes.CDLL, data: bytes) -> None:
    block = Block(len(data) or 1, data)
    library.ox_checksum.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    library.ox_checksum.restype = ctypes.c_uint64
    assert library.ox_checksum(block.address, len(data)) == xxhash.xxh64_intdigest(data)
