"""Orion: Llama with LayerNorm and NeoX rotary positions.

Chen et al. 2024, https://arxiv.org/abs/2401.12246.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "orion"


def build(model: ModelBuilder) -> None:
    """Append the operations of an Orion file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("layer")
