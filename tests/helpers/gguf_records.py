"""GGUF files as records that can be changed and written again, right or wrong."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

from handmade_gguf import (
    ARRAY,
    BOOL,
    F32,
    F64,
    I32,
    I64,
    STRING,
    U32,
    U64,
    array,
    build,
    key,
    record,
)

from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.gguf.types import FORMATS

_ALIGNMENT = 32
_MAX_DATA = 1 << 22
# how deep arrays may nest
_DEPTH = 3


class TensorRecord(NamedTuple):
    """A tensor, and what its bytes are made from."""

    name: str
    shape: tuple[int, ...]
    format: int
    data: bytes


def read_records(file: bytes) -> tuple[dict[str, Any], list[TensorRecord]]:
    """Return a right file's metadata and tensors."""
    model = GGUFFile(file)
    return dict(model.metadata), [
        TensorRecord(info.name, info.shape, info.format, bytes(model.data_of(info)))
        for info in model.tensors.values()
    ]


def write_records(metadata: Any, tensors: list[TensorRecord]) -> bytes:
    """Return a file. Values become what of GGUF's types is nearest, and data as long as a shape
    and a format need, if that is not too long."""
    values = metadata if isinstance(metadata, dict) else {}
    keys = tuple(key(_utf8(name), *_typed(value)) for name, value in values.items())
    records, data = [], b""
    for tensor in tensors:
        records.append(record(_utf8(tensor.name), tensor.shape, tensor.format, len(data)))
        data += _fitted(tensor)
        data += bytes(-len(data) % _ALIGNMENT)
    return build(keys, tuple(records), data)


def _fitted(tensor: TensorRecord) -> bytes:
    known = FORMATS.get(tensor.format)
    if known is None or not tensor.data:
        return tensor.data
    n_bytes = math.prod(tensor.shape) // known.block_size * known.block_bytes
    if n_bytes > _MAX_DATA:
        return tensor.data
    return (tensor.data * (n_bytes // len(tensor.data) + 1))[:n_bytes]


def _typed(value: Any, depth: int = _DEPTH) -> tuple[int, bytes]:
    match value:
        case bool():
            return BOOL, struct.pack("<B", value)
        case int() if depth < _DEPTH and 0 <= value < 1 << 31:
            return I32, struct.pack("<i", value)  # as arrays of token types are
        case int() if 0 <= value < 1 << 32:
            return U32, struct.pack("<I", value)
        case int() if -(1 << 63) <= value < 0:
            return I64, struct.pack("<q", value)
        case int():
            return U64, struct.pack("<Q", value % (1 << 64))
        case float():
            small = abs(value) < 1e38
            return (F32, struct.pack("<f", value)) if small else (F64, struct.pack("<d", value))
        case list() | dict() if depth:
            return ARRAY, _array(list(value), depth)
    raw = _utf8(str(value))
    return STRING, struct.pack("<Q", len(raw)) + raw


def _array(items: list[Any], depth: int) -> bytes:
    """An array of items of one type, the one that most have: text stands for the others."""
    typed = [_typed(item, depth - 1) for item in items]
    kinds = [kind for kind, _ in typed]
    common = max(set(kinds), key=kinds.count, default=STRING)
    if len(set(kinds)) > 1 and common not in (STRING, ARRAY):
        common = F32
        raws = [struct.pack("<f", float(i) if isinstance(i, (int, float)) and abs(i) < 1e38 else 0)
                for i in items]  # fmt: skip
    elif len(set(kinds)) > 1:
        common, raws = STRING, [_typed(str(item))[1] for item in items]
    else:
        raws = [raw for _, raw in typed]
    return array(common, len(raws), b"".join(raws))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
