"""Texts as vectors: a model's hidden states, pooled over the tokens of each text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import ContextLengthError, UnsupportedModelError
from ..validation import boolean, choice, instance, optional, token_ids, tuple_of

if TYPE_CHECKING:
    from ..backends.api import Executor, Outputs
    from ..backends.cache import SequenceCache
    from .model import LoadedModel

Pooling = Literal["last", "mean", "max", "cls"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

_TEXTS = tuple_of(instance((str, list, tuple), "text or token ids"), "a list of texts")
_POOLING = optional(choice(*POOLINGS))

# Of one forward pass: tokens, and bytes of the texts' caches.
TOKEN_BUDGET = 2048
CACHE_BUDGET = 128 << 20

# {arch}.pooling_type as llama.cpp writes it; 0 is none.
_FILE_POOLINGS: dict[int, Pooling] = {1: "mean", 2: "cls", 3: "last"}
_RANK = 4

# A text's number, and which of its tokens a pass computes.
_Part = tuple[int, slice]


def embed_batch(
    model: LoadedModel,
    texts: Sequence[str | Sequence[int]],
    pooling: Pooling | None = None,
    *,
    normalize: bool = True,
) -> list[list[float]]:
    """Return a vector of `hidden_size` values for each text.

    All texts go through the model together; they are split into several passes only above
    TOKEN_BUDGET tokens or CACHE_BUDGET bytes of cache. No conversation is touched.

    Args:
        texts: or their token ids; an empty one gives zeros.
        pooling: the "last" token, the "mean" or "max" of all tokens, or the first token, "cls".
            None does what the model file asks for, else "mean" for encoders and "last" for
            decoders.
        normalize: scale each vector to Euclidean length 1.

    Raises:
        InvalidRequestError: the pooling is unknown.
        ContextLengthError: a text does not fit into the model's context.
        UnsupportedModelError: the model ranks pairs of texts, and has no embeddings.
        ConversationChangedError: another thread changed the model's adapters meanwhile.
    """
    texts = _TEXTS("texts", texts)
    boolean("normalize", normalize)
    pooling = _POOLING("pooling", pooling) or _default_pooling(model)
    tokens = [_tokenize(model, text) for text in texts]
    pools = [_Pool(pooling, model.config.hidden_size) for _ in texts]
    caches: dict[int, SequenceCache] = {}
    outputs: Outputs = "last" if pooling == "last" else "all"
    version = model.version
    for parts in _passes([len(ids) for ids in tokens], model.executor, model.plan.is_encoder):
        with model.lock:
            model.require_version(version)
            batch = []
            for text, part in parts:
                cache = caches.get(text) or caches.setdefault(text, model.executor.new_cache())
                batch.append((cache, tokens[text][part]))
            states = model.hidden_states(batch, outputs)
            n_rows = [1 if outputs == "last" else len(ids) for _, ids in batch]
            for (text, part), rows in zip(parts, _split(states, n_rows), strict=True):
                pools[text].add(rows)
                if part.stop == len(tokens[text]):
                    caches.pop(text).truncate(0)
    vectors = [pool.result() for pool in pools]
    return [normalized(vector) for vector in vectors] if normalize else vectors


def _default_pooling(model: LoadedModel) -> Pooling:
    if model.pooling_type == _RANK:
        raise UnsupportedModelError(
            f"the model {model.config.name!r} ranks pairs of texts; for vectors of a text choose "
            f"a pooling"
        )
    default: Pooling = "mean" if model.plan.is_encoder else "last"
    return _FILE_POOLINGS.get(model.pooling_type, default)


def _tokenize(model: LoadedModel, text: str | Sequence[int]) -> list[int]:
    if isinstance(text, str):
        tokens = model.tokenizer.encode(text, parse_special=False) if text else []
    else:
        tokens = [model.checked_token(token) for token in token_ids("texts", text)]
    if len(tokens) > model.context_size:
        raise ContextLengthError(
            f"a text has {len(tokens)} tokens, but the context takes {model.context_size}; "
            f"embed its parts"
        )
    return tokens


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


def _split(states: memoryview[float], n_rows: list[int]) -> Iterator[list[memoryview[float]]]:
    """Yield the rows of each text."""
    width, row = len(states) // sum(n_rows), 0
    for n in n_rows:
        yield [states[i * width : (i + 1) * width] for i in range(row, row + n)]
        row += n


class _Pool:
    """One text's vector, computed as its tokens come."""

    def __init__(self, pooling: Pooling, width: int) -> None:
        self._pooling = pooling
        self._vector = [0.0] * width
        self._n_tokens = 0

    def add(self, rows: list[memoryview[float]]) -> None:
        """Take the hidden states of the text's next tokens."""
        is_first = self._n_tokens == 0
        self._n_tokens += len(rows)
        if self._pooling == "last":
            self._vector = list(rows[-1])
        elif self._pooling == "cls":
            if is_first:
                self._vector = list(rows[0])
        elif self._pooling == "mean":
            self._vector = list(map(sum, zip(self._vector, *rows, strict=True)))
        else:
            before = [] if is_first else [self._vector]
            self._vector = list(map(max, zip(*before, *rows, strict=True)))

    def result(self) -> list[float]:
        """Return the vector; zeros if there were no tokens."""
        if self._pooling == "mean" and self._n_tokens:
            return [total / self._n_tokens for total in self._vector]
        return self._vector


def normalized(vector: list[float]) -> list[float]:
    """Scale a vector to Euclidean length 1; zeros stay zeros."""
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length > 0.0 else vector
