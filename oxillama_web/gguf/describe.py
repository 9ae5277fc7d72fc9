"""What a GGUF file says about itself, as text. No weight is read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from ..terminal import escaped
from .reader import GGUFFile
from .types import FORMATS

_VALUE_COLUMNS = 80


def describe(gguf: GGUFFile, supported: Collection[str]) -> list[str]:
    """Return the main figures, a name and a value on each line, as far as the file states them.

    Args:
        supported: the architectures that can run.
    """
    rows = [*_model_rows(gguf, supported), *_vocabulary_rows(gguf), *_tensor_rows(gguf)]
    return [f"{name:<15}{value}" for name, value in rows]


def describe_metadata(gguf: GGUFFile) -> list[str]:
    """Return a line for every metadata key with its value; long values are shortened."""
    return [f"{_short(key)} = {_short(gguf.metadata[key])}" for key in gguf.metadata]


def describe_tensors(gguf: GGUFFile) -> list[str]:
    """Return a line for every tensor with its format and shape, the fastest dimension first."""
    return [
        f"{_short(tensor.name)}: {FORMATS[tensor.format].name} {' x '.join(map(str, tensor.shape))}"
        for tensor in gguf.tensors.values()
    ]


def _model_rows(gguf: GGUFFile, supported: Collection[str]) -> Iterator[tuple[str, object]]:
    architecture = gguf.get_str("general.architecture", "unknown")
    yield "name", _short(gguf.get_str("general.name", "none"))
    yield (
        "architecture",
        _short(architecture) + ("" if architecture in supported else " (not supported)"),
    )
    for name, key in (
        ("layers", "block_count"),
        ("hidden size", "embedding_length"),
        ("heads", "attention.head_count"),
        ("key heads", "attention.head_count_kv"),
        ("feed-forward", "feed_forward_length"),
        ("context", "context_length"),
    ):
        value = gguf.metadata.get(f"{architecture}.{key}")
        if value is not None:
            yield name, _short(value)


def _vocabulary_rows(gguf: GGUFFile) -> Iterator[tuple[str, object]]:
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list):
        kind = _short(gguf.get_str("tokenizer.ggml.model", "unknown"))
        yield "vocabulary", f"{len(tokens)} tokens, {kind}"
    elif "tokenizer.huggingface.json" in gguf.metadata:
        yield "vocabulary", "a tokenizer.json"
    else:
        yield "vocabulary", "none in the file"
    yield "chat template", "yes" if "tokenizer.chat_template" in gguf.metadata else "no"


def _tensor_rows(gguf: GGUFFile) -> Iterator[tuple[str, object]]:
    tensors = gguf.tensors.values()
    n_values = sum(math.prod(tensor.shape) for tensor in tensors)
    n_bytes = sum(tensor.nbytes for tensor in tensors)
    yield (
        "weights",
        f"{n_values / 1e6:.1f} million, {n_bytes / 1e6:.1f} MB in {len(tensors)} tensors",
    )
    by_format: dict[int, list[int]] = {}
    for tensor in tensors:
        by_format.setdefault(tensor.format, []).append(tensor.nbytes)
    for number, sizes in sorted(by_format.items(), key=lambda item: -sum(item[1])):
        yield f"  {FORMATS[number].name}", f"{sum(sizes) / 1e6:.1f} MB in {len(sizes)}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{len(value)} values]"
    text = escaped(str(value))
    return text if len(text) <= _VALUE_COLUMNS else text[: _VALUE_COLUMNS - 1] + "…"
