"""The head of a reranker: scores of a text that joins a query and a document.

It takes one hidden state of the text: the first token's of an encoder (or the mean of all), the
last token's of a decoder. Nogueira and Cho 2019, https://arxiv.org/abs/1901.04085. Names of tensors
and keys are those of llama.cpp's converter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import ModelFormatError, UnsupportedModelError
from ..plan.operations.elementwise import Softcap
from ..plan.operations.linear import Linear
from ..plan.operations.pooling import MeanRows

if TYPE_CHECKING:
    from ..plan.operations.elementwise import Activation
    from .hyperparameters import Hyperparameters
    from .steps import Steps

DENSE, OUTPUT, NORM = "cls", "cls.output", "cls.norm"

HeadPooling = Literal["asked", "mean"]

# {arch}.classifier.pooling_type
_POOLINGS: dict[int, HeadPooling] = {1: "mean", 2: "asked"}


class RankingHead(NamedTuple):
    """What a file's head does, where its metadata states nothing else.

    Attributes:
        pooling: the row that it takes: the one that was asked for, or the mean of the text's "x".
        activation: after the matrix "cls"; None: tanh.
    """

    pooling: HeadPooling = "asked"
    activation: Activation | None = None


PLAIN_HEAD = RankingHead()


def has_ranking_head(model: Steps) -> bool:
    """Return whether the file holds such a head."""
    return any(model.has(f"{name}.weight") for name in (DENSE, OUTPUT))


def append_ranking_head(
    model: Steps, hparams: Hyperparameters, hidden: str, head: RankingHead
) -> str:
    """Append the head, and return the buffer of its scores: one for each label.

    Args:
        hidden: the buffer of the hidden states that were asked for.

    Raises:
        ModelFormatError: it does not give a score for each label.
        UnsupportedModelError: its pooling is unknown.
    """
    scores = hidden
    if _pooling(hparams, head.pooling) == "mean":
        MeanRows.append(model.plan, "pooled", "x")
        scores = "pooled"
    last = DENSE
    if model.has(f"{DENSE}.weight"):
        _linear(model, DENSE, scores, "dense")
        scores = "dense"
        if head.activation is None:
            Softcap.append(model.plan, scores, scores, 1.0)  # tanh
        else:
            model.activate(scores, head.activation)
        if model.has(f"{NORM}.weight"):
            model.layer_norm(NORM, scores, scores)
    if model.has(f"{OUTPUT}.weight"):
        last = OUTPUT
        _linear(model, OUTPUT, scores, "scores")
        scores = "scores"
    n_labels, width = _count_labels(hparams), model.plan.width(scores)
    if width != n_labels:
        raise ModelFormatError(
            f"tensor '{last}.weight' gives {width} scores for {n_labels} labels "
            f"({hparams.key('classifier.output_labels')})"
        )
    return scores


def _linear(model: Steps, name: str, src: str, dst: str) -> None:
    """Multiply by a matrix, which may have one row: then it has no second dimension."""
    is_row = len(model.plan.shape(f"{name}.weight")) == 1
    append = Linear.append_dot if is_row else Linear.append
    append(model.plan, dst, src, f"{name}.weight", f"{name}.bias")


def _pooling(hparams: Hyperparameters, default: HeadPooling) -> HeadPooling:
    key = "classifier.pooling_type"
    if not hparams.has(key):
        return default
    stated = hparams.get_int(key)
    if stated not in _POOLINGS:
        raise UnsupportedModelError(
            f"{hparams.key(key)} is {stated}; it must be 1, the mean, or 2, the first token"
        )
    return _POOLINGS[stated]


def _count_labels(hparams: Hyperparameters) -> int:
    key = "classifier.output_labels"
    return len(hparams.gguf.get_array(hparams.key(key))) if hparams.has(key) else 1
