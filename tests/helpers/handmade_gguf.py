"""GGUF files put together by hand, byte by byte, right or wrong."""

from __future__ import annotations

import struct
import time
import tracemalloc

from oxillama_web.gguf.reader import GGUFFile

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
Q4_0, Q2_0 = 2, 42


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def key(name: str | bytes, kind: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + items


def record(
    name: str | bytes, shape: tuple[int, ...] = (32,), format: int = 0, offset: int = 0
) -> bytes:
    layout = f"<I{len(shape)}QIQ"
    return string(name) + struct.pack(layout, len(shape), *shape, format, offset)


def build(
    keys: tuple[bytes, ...] = (),
    records: tuple[bytes, ...] = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_keys: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
) -> bytes:
    counts = (
        version,
        len(records) if n_tensors is None else n_tensors,
        len(keys) if n_keys is None else n_keys,
    )
    header = magic + struct.pack("<IQQ", *counts) + b"".join(keys) + b"".join(records)
    return header + bytes(-len(header) % alignment) + data


SMALL = build(
    (
        key("general.architecture", STRING, string("llama")),
        key("general.alignment", U32, struct.pack("<I", 32)),
        key("a.bool", BOOL, b"\1"),
        key("a.words", ARRAY, array(STRING, 3, string("one") + string("") + string("drei"))),
        key("a.numbers", ARRAY, array(F32, 2, struct.pack("<2f", 0.5, -1))),
        key("a.nest", ARRAY, array(ARRAY, 2, array(U8, 1, b"\7") + array(STRING, 0, b""))),
    ),
    (record("a", (32, 2), Q4_0, 0), record("b", (8,), 0, 64)),
    bytes(range(64)) + struct.pack("<8f", *range(8)),
)
SMALL_HEADER = len(SMALL) - 96


def parse_within_limits(data: bytes) -> GGUFFile:
    """Parses, and reads all metadata and tensors, in little time and memory."""
    start = time.process_time()
    tracemalloc.start()
    try:
        model = GGUFFile(data)
        for value in model.metadata.values():
            assert value is not None
        for name, info in model.tensors.items():
            assert len(model.tensor_data(name)) == info.nbytes
        return model
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < (1 << 20) + 64 * len(data)
        assert time.process_time() - start < 0.2
