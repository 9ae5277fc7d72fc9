"""Nomic's BERT with GELU instead of SwiGLU, and experts in some of its layers.

Nussbaum and Duderstadt 2025, https://arxiv.org/abs/2502.07972.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bert import add_token_type, append_layers, plain_feed_forward
from .model_builder import ModelBuilder
from .routing import read_routing

if TYPE_CHECKING:
    from .model_builder import Layer

ARCHITECTURE = "nomic-bert-moe"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Nomic BERT file with experts."""
    period = model.hparams.get_int("moe_every_n_layers", 0)
    routing = read_routing(model.hparams, gate="softmax")

    def feed_forward(layer: Layer) -> None:
        if period > 0 and layer.index % period == 1:
            layer.mixture_of_experts(routing, "x", ungated="gelu")
        else:
            plain_feed_forward(layer)

    model.embed()
    add_token_type(model)
    append_layers(model, feed_forward, is_rotary=True)
    model.hidden_states()
