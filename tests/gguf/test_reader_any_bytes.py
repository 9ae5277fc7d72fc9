"""The GGUF reader on changed and random bytes: a model or a clear error, soon and within bounds."""

from __future__ import annotations

import struct

from handmade_gguf import SMALL, SMALL_HEADER, parse_within_limits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oxillama_web.errors import ModelFormatError, UnsupportedModelError
from oxillama_web.gguf.reader import try_parse_header

NUMBERS = st.sampled_from(
    [0, 1, 2, 7, 8, 9, 12, 13, 31, 32, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**50,
     2**60, 2**61, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 8, 2**64 - 1]
)  # fmt: skip
PLACES = st.integers(0, SMALL_HEADER - 1)


@settings(max_examples=400, deadline=None)
@given(edits=st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_give_a_model_or_a_clear_error(edits: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for place, byte in edits:
        data[place] = byte
    assert_parsed_or_refused(bytes(data))


@settings(max_examples=400, deadline=None)
@given(place=PLACES, number=NUMBERS, wide=st.booleans())
@example(place=8, number=2**60, wide=True)
def test_edited_lengths_give_a_model_or_a_clear_error(place: int, number: int, wide: bool) -> None:
    raw = struct.pack("<Q", number)[: 8 if wide else 4]
    assert_parsed_or_refused(SMALL[:place] + raw + SMALL[place + len(raw) :])


@settings(max_examples=200, deadline=None)
@given(place=PLACES, n_bytes=st.integers(1, 40), filling=st.binary(max_size=40))
def test_moved_bytes_give_a_model_or_a_clear_error(
    place: int, n_bytes: int, filling: bytes
) -> None:
    assert_parsed_or_refused(SMALL[:place] + filling + SMALL[place + n_bytes :])


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_after_the_magic_give_a_model_or_a_clear_error(data: bytes) -> None:
    assert_parsed_or_refused(b"GGUF\3\0\0\0" + data)


def assert_parsed_or_refused(data: bytes) -> None:
    """A prefix of the header must never say more than the file does."""
    try:
        whole = parse_within_limits(data)
    except (ModelFormatError, UnsupportedModelError) as error:
        assert len(str(error)) < 1000
        whole = None
    half = len(data) // 2
    try:
        part = try_parse_header(data[:half], len(data))
    except (ModelFormatError, UnsupportedModelError):
        assert whole is None
    else:
        if part is not None and whole is not None:
            assert part.tensors == whole.tensors
