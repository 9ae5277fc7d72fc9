"""The head of a reranker: scores of a text that joins a query and a document.

It takes one hidden state of the text: the first token's of an encoder (or the mean of all), the
last token's of a decoder. Nogueira and Cho 2019, https://arxiv.org/abs/1901.04085. Names of tensors
and keys are those of llama.cpp's converter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..errors import ModelFormatError, UnsupportedModelError
from ..plan.operations.elementwise import Softcap
from ..plan.operations.linear import Linear
from ..plan.operations.pooling import MeanRows

if TYPE_CHECKING:
    from .model_builder import ModelBuilder

DENSE, OUTPUT, NORM = "cls", "cls.output", "cls.norm"

# {arch}.classifier.pooling_type
_POOLINGS: dict[int, Literal["mean", "first"]] = {1: "mean", 2: "first"}


def has_ranking_head(model: ModelBuilder) -> bool:
    """Return whether the file holds such a head."""
    return any(model.has(f"{name}.weight") for name in (DENSE, OUTPUT))


def append_ranking_head(model: ModelBuilder, hidden: str, *, is_encoder: bool) -> str:
    """Append the head, and return the buffer of its scores: one for each label.

    Args:
        hidden: the buffer of the hidden states that were asked for.
        is_encoder: whether "x" holds those of the whole text.

    Raises:
        ModelFormatError: it does not give a score for each label.
    """
    scores = hidden
    if is_encoder and _pooling(model) == "mean":
        MeanRows.append(model.plan, "pooled", "x")
        scores = "pooled"
    last = DENSE
    if model.has(f"{DENSE}.weight"):
        _linear(model, DENSE, scores, "dense")
        scores = "dense"
        if model.config.architecture == "modern-bert":
            model.activate(scores, "gelu")
        else:
            Softcap.append(model.plan, scores, scores, 1.0)  # tanh
        if model.has(f"{NORM}.weight"):
            model.layer_norm(NORM, scores, scores)
    if model.has(f"{OUTPUT}.weight"):
        last = OUTPUT
        _linear(model, OUTPUT, scores, "scores")
        scores = "scores"
    n_labels, width = _count_labels(model), model.plan.width(scores)
    if width != n_labels:
        raise ModelFormatError(
            f"tensor '{last}.weight' gives {width} scores for {n_labels} labels "
            f"({model.hparams.key('classifier.output_labels')})"
        )
    return scores


def _linear(model: ModelBuilder, name: str, src: str, dst: str) -> None:
    """Multiply by a matrix, which may have one row: then it has no second dimension."""
    is_row = len(model.plan.shape(f"{name}.weight")) == 1
    append = Linear.append_dot if is_row else Linear.append
    append(model.plan, dst, src, f"{name}.weight", f"{name}.bias")


def _pooling(model: ModelBuilder) -> Literal["mean", "first"]:
    key = "classifier.pooling_type"
    default = 1 if model.config.architecture == "modern-bert" else 2
    stated = model.hparams.get_int(key, default)
    if stated not in _POOLINGS:
        raise UnsupportedModelError(f"{model.hparams.key(key)} is {stated}; it must be 1 or 2")
    return _POOLINGS[stated]


def _count_labels(model: ModelBuilder) -> int:
    key = model.hparams.key("classifier.output_labels")
    if key not in model.hparams.gguf.metadata:
        return 1
    return len(model.hparams.gguf.get_array(key))
