"""Many texts in few forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..backends.api import Batch, Executor, Outputs
    from ..backends.cache import SequenceCache
    from .model import LoadedModel

# Of one forward pass: tokens, and bytes of the texts' caches.
TOKEN_BUDGET = 2048
CACHE_BUDGET = 128 << 20

# A text's number, and which of its tokens a pass computes.
_Part = tuple[int, slice]


def compute_texts(
    model: LoadedModel,
    texts: Sequence[Sequence[int]],
    outputs: Outputs,
    run: Callable[[Batch, Outputs], memoryview[float]],
) -> Iterator[tuple[int, list[memoryview[float]]]]:
    """Compute texts together, and yield the rows of each: its number, and its next rows.

    There are several passes only above TOKEN_BUDGET tokens or CACHE_BUDGET bytes of cache. A text
    of a decoder may be divided among them, and its rows then come in parts. An empty text has none.
    No conversation is touched. The rows are valid until the next is asked for.

    Args:
        model: the caller does not hold its lock.
        texts: their token ids.
        outputs: the tokens of each part whose rows are wanted.
        run: computes the rows, such as `model.hidden_states`.

    Raises:
        ConversationChangedError: another thread changed the model's adapters meanwhile.
    """
    caches: dict[int, SequenceCache] = {}
    version = model.version
    for parts in _passes([len(ids) for ids in texts], model.executor, model.plan.is_encoder):
        with model.lock:
            model.require_version(version)
            batch = []
            for text, part in parts:
                cache = caches.get(text) or caches.setdefault(text, model.executor.new_cache())
                batch.append((cache, texts[text][part]))
            values = run(batch, outputs)
            n_rows = [len(ids) if outputs == "all" else 1 for _, ids in batch]
            for (text, part), rows in zip(parts, _split(values, n_rows), strict=True):
                yield text, rows
                if part.stop == len(texts[text]):
                    caches.pop(text).truncate(0)


def _passes(lengths: list[int], executor: Executor, is_encoder: bool) -> Iterator[list[_Part]]:
    """Divide texts among forward passes. An encoder must see a whole text at once."""
    parts: list[_Part] = []
    n_tokens = n_bytes = 0
    for text, length in enumerate(lengths):
        start = 0
        while start < length:
            room = TOKEN_BUDGET - n_tokens
            end = length if is_encoder else min(length, start + max(room, 1))
            cache_bytes = executor.cache_bytes(length)
            if parts and (end - start > room or n_bytes + cache_bytes > CACHE_BUDGET):
                yield parts
                parts, n_tokens, n_bytes = [], 0, 0
                continue
            parts.append((text, slice(start, end)))
            n_tokens += end - start
            n_bytes += cache_bytes
            start = end
    if parts:
        yield parts


def _split(values: memoryview[float], n_rows: list[int]) -> Iterator[list[memoryview[float]]]:
    """Yield the rows of each text."""
    width, row = len(values) // sum(n_rows), 0
    for n in n_rows:
        yield [values[i * width : (i + 1) * width] for i in range(row, row + n)]
        row += n
