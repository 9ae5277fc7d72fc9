"""Nomic's BERT: BERT with rotary positions, SwiGLU, and no biases in the matrix products.

Nussbaum et al. 2024, https://arxiv.org/abs/2402.01613.
"""

from .bert import add_token_type
from .model_builder import ModelBuilder

ARCHITECTURE = "nomic-bert"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Nomic BERT file."""
    model.embed()
    add_token_type(model)
    model.rope_table()
    model.layer_norm("token_embd_norm", "x", "x")
    for layer in model.layers():
        layer.qkv("x")
        layer.rope("neox")
        layer.attention(causal=False)
        layer.add_residual()
        layer.layer_norm("attn_output_norm", "x", "x")
        layer.gated_feed_forward("silu", "x")
        layer.add_residual()
        layer.layer_norm("layer_output_norm", "x", "x")
    model.hidden_states()
