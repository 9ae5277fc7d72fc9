"""Models in several files, as llama.cpp's gguf-split makes them: model-00001-of-00003.gguf.

Each file is a GGUF file with tensors of its own. The first one's metadata holds for the model; each
has the keys split.no (from 0), split.count and split.tensors.count. Here the files follow one
another in one source, so that the rest of the engine sees one model:
https://github.com/ggml-org/llama.cpp/tree/master/tools/gguf-split
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .reader import GGUFFile

# Each file begins at a multiple of this, so that tensors stay aligned for any vector unit.
ALIGNMENT = 64


def part_paths(path: Path) -> list[Path]:
    """Return all files of a model, given the first; the path alone if it names a whole model.

    Raises:
        ModelFormatError: the path is that of another part than the first.
    """
    import re  # a page starts sooner without it

    match = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})\.gguf", path.name, re.IGNORECASE)
    if match is None:
        return [path]
    stem, number, count = match[1], int(match[2]), int(match[3])
    first = path.with_name(f"{stem}-00001-of-{match[3]}{path.suffix}")
    if number != 1:
        raise ModelFormatError(f"{path.name} is part {number} of a model: give {first.name}")
    names = (f"{stem}-{index:05}-of-{match[3]}{path.suffix}" for index in range(1, count + 1))
    return [path.with_name(name) for name in names]


def read_parts(paths: Sequence[Path]) -> tuple[bytearray, list[int]]:
    """Read files into one buffer; return it, and where each file begins.

    Raises:
        OSError: a file cannot be read.
    """
    starts, end = [], 0
    for path in paths:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        starts.append(start)
        end = start + path.stat().st_size
    data = bytearray(end)
    view = memoryview(data)
    for path, start, stop in zip(paths, starts, [*starts[1:], end], strict=True):
        with path.open("rb") as file:
            file.readinto(view[start:stop])
    return data, starts


def merge(parts: Sequence[GGUFFile], starts: Sequence[int]) -> GGUFFile:
    """Return the first part, with the tensors of all parts.

    Args:
        parts: in their order. The first one's `read` reaches the others.
        starts: the offset of each from the first one's start.

    Raises:
        ModelFormatError: parts are missing, or not in their order, or not of one model.
    """
    whole = parts[0]
    n_parts = whole.get_int("split.count", 1)
    if n_parts != len(parts) and not (n_parts == 0 and len(parts) == 1):
        raise ModelFormatError(
            f"the model is in {n_parts} files, and {len(parts)} of them came: give the first, "
            f"named ...-00001-of-{n_parts:05}.gguf, beside the others, or a list of all"
        )
    for index, part in enumerate(parts):
        if len(parts) > 1 and part.get_int("split.no") != index:
            raise ModelFormatError(
                f"file {index + 1} of {len(parts)} is part {part.get_int('split.no') + 1} of its "
                f"model: give the parts in their order"
            )
        if part.get_int("split.count", 1) != n_parts:
            raise ModelFormatError(f"file {index + 1} is a part of another model")
        for name, info in part.tensors.items() if index else ():
            if name in whole.tensors:
                raise ModelFormatError(f"tensor {name[:80]!r} is in two of the model's files")
            whole.tensors[name] = info._replace(offset=info.offset + starts[index])
    n_tensors = whole.get_int("split.tensors.count", len(whole.tensors))
    if len(parts) > 1 and n_tensors != len(whole.tensors):
        raise ModelFormatError(
            f"the model has {n_tensors} tensors, and its files hold {len(whole.tensors)}: they do "
            f"not belong together"
        )
    return whole
