"""Texts as vectors: a model's hidden states, pooled over the tokens of each text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from ..errors import ContextLengthError, UnsupportedModelError
from ..validation import boolean, choice, instance, optional, token_ids, tuple_of
from .text_batches import compute_texts

if TYPE_CHECKING:
    from ..backends.api import Outputs
    from .model import LoadedModel

Pooling = Literal["last", "mean", "max", "cls"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

_TEXTS = tuple_of(instance((str, list, tuple), "text or token ids"), "a list of texts")
_POOLING = optional(choice(*POOLINGS))

# {arch}.pooling_type as llama.cpp writes it; 0 is none.
_FILE_POOLINGS: dict[int, Pooling] = {1: "mean", 2: "cls", 3: "last"}
_RANK = 4


class Embeddings(NamedTuple):
    """The vectors of texts, and the number of tokens of each text."""

    vectors: list[list[float]]
    token_counts: list[int]


def embed_batch(
    model: LoadedModel,
    texts: Sequence[str | Sequence[int]],
    pooling: Pooling | None = None,
    *,
    normalize: bool = True,
) -> Embeddings:
    """Return a vector of `hidden_size` values for each text; see `compute_texts`.

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
    outputs: Outputs = "all"
    if pooling == "last" or (pooling == "cls" and model.plan.is_encoder):
        outputs = "last" if pooling == "last" else "first"
    for text, rows in compute_texts(model, tokens, outputs, model.hidden_states):
        pools[text].add(rows)
    vectors = [pool.result() for pool in pools]
    if normalize:
        vectors = [normalized(vector) for vector in vectors]
    return Embeddings(vectors, [len(ids) for ids in tokens])


def _default_pooling(model: LoadedModel) -> Pooling:
    if model.pooling_type == _RANK:
        raise UnsupportedModelError(
            f"the model {model.config.name!r} ranks pairs of texts: call rerank(); for vectors of "
            f"a text choose a pooling"
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
