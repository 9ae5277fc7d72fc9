"""Phi 1, 1.5 and 2: LayerNorm, attention and feed-forward side by side, part of each head rotates.

Li et al. 2023, https://arxiv.org/abs/2309.05463.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "phi2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Phi file up to Phi 2."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.feed_forward("gelu")
        layer.add_residual()
    model.logits("layer")
