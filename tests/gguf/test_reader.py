"""The GGUF reader: sound files against the gguf package, and every way a file can be broken."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_files import write_tiny_gemma3, write_tiny_llama
from handmade_gguf import (
    ARRAY,
    BOOL,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    Q2_0,
    Q4_0,
    SMALL,
    SMALL_HEADER,
    STRING,
    U8,
    U16,
    U32,
    U64,
    array,
    build,
    key,
    parse_within_limits,
    record,
    string,
)

from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.kernels.strings import KernelStrings
from oxillama_web.errors import ModelFormatError, UnsupportedModelError
from oxillama_web.gguf.reader import GGUFFile, try_parse_header

STRING_KERNELS = KernelStrings(load_library())

# --- sound files ---


def assert_same_as_the_gguf_package(path: Path) -> None:
    reader = gguf.GGUFReader(path)
    data = path.read_bytes()
    for string_kernels in (None, STRING_KERNELS):
        assert_same(GGUFFile(data, string_kernels=string_kernels), reader)


def assert_same(ours: GGUFFile, reader: gguf.GGUFReader) -> None:
    fields = {n: f for n, f in reader.fields.items() if not n.startswith("GGUF.")}
    assert list(ours.metadata) == list(fields)
    for name, field in fields.items():
        expected = field.contents()
        assert ours.metadata[name] == expected, name
        assert type(ours.metadata[name]) is type(expected), name
    assert list(ours.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        info = ours.tensors[tensor.name]
        assert info.name == tensor.name
        assert info.shape == tuple(tensor.shape.tolist())
        assert info.format == int(tensor.tensor_type)
        assert (info.offset, info.nbytes) == (tensor.data_offset, tensor.n_bytes)
        assert ours.tensor_data(tensor.name) == tensor.data.tobytes()
    assert ours.data_start == reader.data_offset
    assert ours.alignment == reader.alignment
    assert ours.version == reader.fields["GGUF.version"].contents()


def test_tiny_files_read_as_the_gguf_package_reads_them(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "llama.gguf", formats={"ffn_down.weight": "Q5_1"})
    write_tiny_gemma3(tmp_path / "gemma3.gguf", format="Q4_0")
    assert_same_as_the_gguf_package(tmp_path / "llama.gguf")
    assert_same_as_the_gguf_package(tmp_path / "gemma3.gguf")


@pytest.mark.slow
def test_smollm2_reads_as_the_gguf_package_reads_it(smollm2_path: Path) -> None:
    assert_same_as_the_gguf_package(smollm2_path)


def test_the_known_models_have_the_layout_that_is_known_of_them(
    smollm2_path: Path, gemma3_path: Path
) -> None:
    for path, n_tensors, n_tokens, n_embedding in (
        (smollm2_path, 272, 49152, 576),
        (gemma3_path, 236, 262144, 640),
    ):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            model = GGUFFile(data, string_kernels=STRING_KERNELS)
            assert model.version == 3
            assert len(model.tensors) == n_tensors
            assert len(model.get_array("tokenizer.ggml.tokens")) == n_tokens
            embedding = model.tensors["token_embd.weight"]
            assert (embedding.shape, embedding.format) == ((n_embedding, n_tokens), 8)
            model.buffer.release()


@pytest.mark.parametrize("version", [2, 3])
def test_values_of_every_type(version: int) -> None:
    values: dict[str, tuple[int, bytes, Any]] = {
        "u8": (U8, b"\xff", 255),
        "i8": (I8, b"\xff", -1),
        "u16": (U16, b"\xfe\xff", 65534),
        "i16": (I16, b"\xfe\xff", -2),
        "u32": (U32, struct.pack("<I", 2**32 - 1), 2**32 - 1),
        "i32": (I32, struct.pack("<i", -(2**31)), -(2**31)),
        "u64": (U64, struct.pack("<Q", 2**64 - 1), 2**64 - 1),
        "i64": (I64, struct.pack("<q", -(2**63)), -(2**63)),
        "f32": (F32, struct.pack("<f", 0.1), float(np.float32(0.1))),
        "f64": (F64, struct.pack("<d", 0.1), 0.1),
        "true": (BOOL, b"\1", True),
        "false": (BOOL, b"\0", False),
        "text": (STRING, string("héllo"), "héllo"),
        "cut": (STRING, string("é".encode()[:1] + b"x"), "�x"),
        "none": (ARRAY, array(I16, 0, b""), []),
        "bools": (ARRAY, array(BOOL, 3, b"\1\0\2"), [True, False, True]),
        "longs": (ARRAY, array(U64, 2, struct.pack("<2Q", 1, 2**63)), [1, 2**63]),
        "texts": (ARRAY, array(STRING, 2, string("ab") + string("日本")), ["ab", "日本"]),
        "bytes": (
            ARRAY,
            array(STRING, 2, string(b"\xe6\x97") + string("é")),
            ["\udce6\udc97", "é"],
        ),
        "nest": (ARRAY, array(ARRAY, 1, array(ARRAY, 1, array(I8, 1, b"\xff"))), [[[-1]]]),
    }
    data = build(
        tuple(key(name, kind, raw) for name, (kind, raw, _) in values.items()), version=version
    )
    model = GGUFFile(data)
    assert model.version == version
    assert dict(model.metadata) == {name: value for name, (_, _, value) in values.items()}
    assert all(type(model.metadata[n]) is type(v) for n, (_, _, v) in values.items())
    assert len(model.metadata) == len(values)
    assert "u8" in model.metadata
    assert "u9" not in model.metadata
    assert model.tensors == {}


def test_any_buffer_will_do_and_none_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(SMALL)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for buffer in (SMALL, memoryview(SMALL), mapped):
            model = GGUFFile(buffer)
            assert model.tensor_data("b").cast("f").tolist() == list(range(8))
            assert model.tensor_data("a").readonly
            model.buffer.release()
    writable = bytearray(SMALL)
    model = GGUFFile(writable)
    writable[-32:-28] = struct.pack("<f", 9.5)
    assert model.tensor_data("b").cast("f")[0] == 9.5
    words = np.frombuffer(SMALL + bytes(-len(SMALL) % 8), np.uint64)
    assert GGUFFile(memoryview(words)).metadata["a.words"] == ["one", "", "drei"]


def test_a_list_is_the_callers_own() -> None:
    model = GGUFFile(SMALL)
    model.metadata["a.words"].clear()
    assert model.metadata["a.words"] == ["one", "", "drei"]


def test_other_alignments_move_the_data() -> None:
    for alignment in (1, 8, 256):
        keys = (key("general.alignment", U32, struct.pack("<I", alignment)),)
        records = (record("a", (2,), 0, 0), record("b", (2,), 0, max(alignment, 8)))
        data = struct.pack("<2f", 1, 2).ljust(max(alignment, 8), b"\0") + struct.pack("<2f", 3, 4)
        model = GGUFFile(build(keys, records, data, alignment=alignment))
        assert model.alignment == alignment
        assert model.data_start % alignment == 0
        assert model.tensor_data("b").cast("f").tolist() == [3, 4]


def test_tensors_need_not_lie_in_the_order_of_their_names() -> None:
    records = (record("late", (8,), 0, 32), record("early", (8,), 0, 0))
    model = GGUFFile(build((), records, struct.pack("<16f", *range(16))))
    assert list(model.tensors) == ["late", "early"]
    assert model.tensor_data("late").cast("f")[0] == 8


# --- typed access ---


def test_typed_access_gives_values_and_defaults() -> None:
    keys = (
        key("n", U32, struct.pack("<I", 7)),
        key("x", F32, struct.pack("<f", 0.5)),
        key("s", STRING, string("text")),
        key("b", BOOL, b"\0"),
        key("l", ARRAY, array(U8, 2, b"\1\2")),
    )
    model = GGUFFile(build(keys))
    assert model.get_int("n") == model.get_int("n", 3) == 7
    assert model.get_float("x") == 0.5
    assert model.get_float("n") == 7.0
    assert type(model.get_float("n")) is float
    assert model.get_str("s") == "text"
    assert model.get_bool("b") is False
    assert model.get_bool("b", True) is False
    assert model.get_array("l") == [1, 2]
    assert model.get_int("no", 0) == 0
    assert model.get_float("no", 0.0) == 0.0
    assert model.get_str("no", "") == ""
    assert model.get_bool("no", False) is False
    assert model.get_array("no", []) == []
    for get in (model.get_int, model.get_float, model.get_str, model.get_bool, model.get_array):
        with pytest.raises(ModelFormatError, match=r"lacks.*'some\.key'"):
            get("some.key")
    for get, wrong in (
        (model.get_int, "xsbl"),
        (model.get_float, "sbl"),
        (model.get_str, "nxbl"),
        (model.get_bool, "nxsl"),
        (model.get_array, "nxsb"),
    ):
        for name in wrong:
            with pytest.raises(ModelFormatError, match=f"'{name}' must hold"):
                get(name)


def test_an_unknown_tensor_is_named() -> None:
    with pytest.raises(ModelFormatError, match=r"no tensor 'blk\.9'"):
        GGUFFile(SMALL).tensor_data("blk.9")


# --- broken files: each with what its message says ---

WRONG_SIZE = r"truncated or broken"
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "three bytes": (b"GGU", "8 bytes, and the file has only 3"),
    "a web page": (b"<!DOCTYPE html><html>", r"b'<!DO'.*not a GGUF"),
    "an older format": (b"tjgg" + bytes(100), "older GGML"),
    "only a magic": (b"GGUF", "only 4"),
    "2^60 tensors": (build(n_tensors=2**60), r"claims 1152921504606846976 tensors.*" + WRONG_SIZE),
    "2^64-1 keys": (build(n_keys=2**64 - 1), "claims 18446744073709551615 metadata keys"),
    "one key too few": (SMALL[:20] + b"\7" + SMALL[21:], "has only|claims"),
    "2^50 bytes of key": (
        build((struct.pack("<Q", 2**50) + b"abc" + bytes(30),)),
        r"a metadata key at byte \d+ takes 1125899906842624 bytes",
    ),
    "2^50 bytes of text": (
        build((key("k", STRING, struct.pack("<Q", 2**50) + bytes(30)),)),
        r"the value of 'k' at byte \d+ takes 1125899906842624 bytes",
    ),
    "2^61 numbers": (
        build((key("k", ARRAY, array(U64, 2**61, bytes(64))),)),
        "claims 2305843009213693952 items of 'k'",
    ),
    "2^61 strings": (
        build((key("k", ARRAY, array(STRING, 2**61, bytes(64))),)),
        "claims 2305843009213693952 strings of 'k'",
    ),
    "2^40 arrays": (
        build((key("k", ARRAY, array(ARRAY, 2**40, bytes(64))),)),
        "claims 1099511627776 arrays of 'k'",
    ),
    "a string past the end": (
        build((key("k", ARRAY, array(STRING, 2, string("ab") + struct.pack("<Q", 2**40))),)),
        "string 1 of 'k' is 1099511627776 bytes long",
    ),
    "a string past all sizes": (
        build((key("k", ARRAY, array(STRING, 2, struct.pack("<Q", 2**64 - 1) + bytes(16))),)),
        "string 0 of 'k' is 18446744073709551615 bytes long",
    ),
    "arrays five deep": (
        build((key("k", ARRAY, array(ARRAY, 1, b"") * 4 + array(U8, 1, b"\0")),)),
        "'k' nests arrays more than 4 deep",
    ),
    "an unknown type": (build((key("k", 13, bytes(8)),)), "'k' has the unknown value type 13"),
    "an unknown item type": (
        build((key("k", ARRAY, array(99, 1, bytes(8))),)),
        "'k' has the unknown value type 99",
    ),
    "65536 bytes of key": (build((key("k" * 65536, U8, b"\0"),)), "65536 bytes long, and 65535"),
    "an empty key": (build((key("", U8, b"\0"),)), "metadata key at byte 24 is empty"),
    "a key of no text": (build((key(b"\xff\xfe", U8, b"\0"),)), "byte 24 is not UTF-8"),
    "a key twice": (build((key("k", U8, b"\0"), key("k", U8, b"\1"))), "'k' is there twice"),
    "alignment 0": (build((key("general.alignment", U32, bytes(4)),)), "alignment is 0"),
    "alignment 24": (
        build((key("general.alignment", U32, struct.pack("<I", 24)),)),
        "alignment is 24",
    ),
    "alignment -32": (
        build((key("general.alignment", I32, struct.pack("<i", -32)),)),
        "alignment is -32",
    ),
    "alignment of text": (
        build((key("general.alignment", STRING, string("32")),)),
        "'general.alignment' must hold an integer",
    ),
    "alignment 2^63": (
        build(
            (key("general.alignment", U64, struct.pack("<Q", 2**63)),), (record("a"),), bytes(128)
        ),
        "truncated",
    ),
    "a tensor twice": (
        build((), (record("a"), record("a", offset=128)), bytes(256)),
        "'a' is there twice",
    ),
    "a tensor without a name": (build((), (record(""),), bytes(128)), "name at byte 24 is empty"),
    "five dimensions": (build((), (record("a", (1,) * 5),), bytes(128)), "'a' has 5 dimensions"),
    "2^31 dimensions": (
        build((), (string("a") + struct.pack("<I", 2**31) + bytes(64),)),
        "'a' has 2147483648 dimensions",
    ),
    "a dimension of 0": (build((), (record("a", (32, 0)),), bytes(128)), "impossible shape"),
    "2^80 values": (
        build((), (record("a", (2**40, 2**40)),), bytes(128)),
        r"impossible shape \(1099511627776, 1099511627776\)",
    ),
    "a product that overflows to 0": (
        build((), (record("a", (2**32, 2**32, 2)),), bytes(128)),
        "impossible shape",
    ),
    "2^40 values": (
        build((), (record("a", (2**40,)),), bytes(128)),
        r"truncated: its tensors end at byte 4398046511\d+, and it has 192 bytes",
    ),
    "rows of half a block": (
        build((), (record("a", (16, 2), Q4_0),), bytes(128)),
        "rows of 16 values, and Q4_0 needs a multiple of 32",
    ),
    "an odd offset": (
        build((), (record("a", offset=16),), bytes(256)),
        "starts at byte 16 of the data.*alignment 32",
    ),
    "an offset past the end": (
        build((), (record("a", offset=2**63),), bytes(128)),
        "truncated: its tensors end at byte 9223372036854776000",
    ),
    "an overlap": (
        build((), (record("a", offset=96), record("b"), record("c", offset=256)), bytes(512)),
        "'b' and 'a' overlap",
    ),
    "two at one place": (build((), (record("a"), record("b")), bytes(256)), "overlap"),
    "one byte missing": (
        SMALL[:-1],
        f"truncated: its tensors end at byte {len(SMALL)}, and it has {len(SMALL) - 1} bytes: is "
        "the download complete",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_a_reason(name: str) -> None:
    data, message = BROKEN[name]
    with pytest.raises(ModelFormatError, match=message):
        parse_within_limits(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (build(version=1), "version 1"),
        (build(version=4), "version 4 is unknown"),
        (build(version=0), "version 0 is unknown"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian.*gguf-convert-endian"),
        (b"GGUF" + struct.pack(">IQQ", 2, 0, 0), "big-endian"),
        (build((), (record("a", (32,), 4),), bytes(128)), "'a' has the format Q4_2.*given up"),
        (build((), (record("a", (32,), 33),), bytes(128)), "Q4_0_8_8"),
        (build((), (record("a", (32,), 99),), bytes(128)), "'a' has the unknown format number 99"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        GGUFFile(data)


def test_a_long_name_does_not_make_a_long_message() -> None:
    for data in (
        build((key("k" * 60000, 13, b""),)),
        build((), (record("t" * 60000, (1,) * 5),), bytes(128)),
    ):
        with pytest.raises(ModelFormatError) as caught:
            GGUFFile(data)
        assert len(str(caught.value)) < 300
    model = GGUFFile(build((key("k", ARRAY, array(U8, 60000, bytes(60000))),)))
    with pytest.raises(ModelFormatError) as caught:
        model.get_int("k")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("n_bytes", range(len(SMALL)))
def test_a_file_cut_anywhere_is_refused(n_bytes: int) -> None:
    with pytest.raises(ModelFormatError):
        parse_within_limits(SMALL[:n_bytes])


def test_a_file_cut_in_its_data_asks_whether_the_download_is_complete(smollm2_path: Path) -> None:
    with smollm2_path.open("rb") as file:
        head = file.read(8 << 20)
    with pytest.raises(ModelFormatError, match=r"98362432.*8388608 bytes: is the download compl"):
        GGUFFile(head, string_kernels=STRING_KERNELS)
    with pytest.raises(ModelFormatError, match="is the download complete"):
        GGUFFile(head[: 1 << 20], string_kernels=STRING_KERNELS)


# --- the header of a file that is still on its way ---


def test_a_prefix_is_either_too_short_or_gives_the_same_header() -> None:
    whole = GGUFFile(SMALL)
    complete = [try_parse_header(SMALL[:n], len(SMALL)) for n in range(len(SMALL) + 1)]
    first = next(n for n, model in enumerate(complete) if model is not None)
    assert SMALL_HEADER - 32 < first <= SMALL_HEADER == whole.data_start
    for n_bytes, model in enumerate(complete):
        assert (model is not None) == (n_bytes >= first)
        if model is not None:
            assert model.tensors == whole.tensors
            assert dict(model.metadata) == dict(whole.metadata)
            if n_bytes < len(SMALL):
                with pytest.raises(ModelFormatError, match=r"'b' ends.*so far"):
                    model.tensor_data("b")
    assert complete[-1].tensor_data("b") == whole.tensor_data("b")


@pytest.mark.parametrize("name", [name for name, (data, _) in BROKEN.items() if len(data) > 8])
def test_a_broken_header_is_told_before_the_whole_file_is_there(name: str) -> None:
    data, message = BROKEN[name]
    for n_bytes in range(len(data)):
        try:
            model = try_parse_header(data[:n_bytes], len(data))
        except ModelFormatError as error:
            assert n_bytes >= 8
            with pytest.raises(ModelFormatError, match=message):
                raise error
            return
        assert model is None
    raise AssertionError(f"{name} was found only at the last byte")


def test_a_prefix_of_a_file_said_to_be_shorter_is_refused() -> None:
    with pytest.raises(ModelFormatError, match="truncated"):
        try_parse_header(SMALL[:SMALL_HEADER], len(SMALL) - 1)
    with pytest.raises(ModelFormatError, match=r"not end in the 100 bytes.*of 1000"):
        GGUFFile(SMALL[:100], 1000)


def test_a_tensor_without_dimensions_is_one_value() -> None:
    tensors = (record("a", ()), record("b", (), Q4_0, 32))
    model = parse_within_limits(build((), tensors[:1], struct.pack("<f", 2.5)))
    assert model.tensors["a"].shape == (1,)
    assert bytes(model.tensor_data("a")) == struct.pack("<f", 2.5)
    with pytest.raises(ModelFormatError, match="'b' has rows of 1 values, and Q4_0 needs"):
        parse_within_limits(build((), tensors, bytes(64)))


def test_q2_0_of_128_weights_is_refused_by_a_message_of_its_own() -> None:
    """Tensors that lie where blocks of 34 bytes end, not two of 18."""
    shape, early = (128, 32), 34 * 32
    for records in (
        (record("a", shape, Q2_0), record("b", (8,), 0, early)),
        (record("a", shape, Q2_0),),
    ):
        n_bytes = early + 32 * (len(records) - 1)
        with pytest.raises(UnsupportedModelError, match="'a' is Q2_0 with a scale for each 128"):
            parse_within_limits(build((), records, bytes(n_bytes)))
    with pytest.raises(ModelFormatError, match="truncated"):
        parse_within_limits(build((), records, bytes(early - 32)))
    parse_within_limits(build((), records, bytes(36 * 32)))
