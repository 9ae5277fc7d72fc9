"""Nomic's BERT: BERT with rotary positions, SwiGLU, and no biases in the matrix products.

Nussbaum et al. 2024, https://arxiv.org/abs/2402.01613.
"""

from .bert import add_token_type, append_layers
from .model_builder import ModelBuilder

ARCHITECTURE = "nomic-bert"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Nomic BERT file."""
    model.embed()
    add_token_type(model)
    append_layers(model, lambda layer: layer.gated_feed_forward("silu", "x"), is_rotary=True)
    model.hidden_states()
