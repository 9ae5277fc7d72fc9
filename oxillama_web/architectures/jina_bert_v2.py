"""Jina's BERT: BERT with ALiBi instead of positions, and with a gated feed-forward.

Günther et al. 2023, https://arxiv.org/abs/2310.19923. Some files normalize Q and K, or add the
input of a layer a second time (jina-embeddings-v2-base-code).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bert import add_token_type, append_layers
from .model_builder import ModelBuilder

if TYPE_CHECKING:
    from .model_builder import Layer

ARCHITECTURE = "jina-bert-v2"

MAX_ALIBI_BIAS = 8.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a Jina BERT file."""
    model.embed()
    add_token_type(model)
    append_layers(model, _feed_forward, max_alibi_bias=MAX_ALIBI_BIAS)
    model.hidden_states()


def _feed_forward(layer: Layer) -> None:
    """Append a feed-forward whose gate is a matrix of its own, half of another, or not there."""
    _, n_rows = layer.plan.matrix(f"{layer.prefix}ffn_up.weight")
    if layer.has("ffn_gate.weight") or n_rows == 2 * layer.config.ffn_size:
        layer.gated_feed_forward("gelu", "x")
    else:
        layer.feed_forward("gelu", "x")
