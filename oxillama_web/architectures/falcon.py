"""Falcon: LayerNorm, few key heads, attention and feed-forward side by side, GELU.

Almazrouei et al. 2023, https://arxiv.org/abs/2311.16867. In the larger models attention and
feed-forward have a norm each.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "falcon"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Falcon file of the first generation."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        if layer.has("attn_norm_2.weight"):
            layer.layer_norm("attn_norm_2", dst="h2")
            layer.qkv("h2")
        else:
            layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.feed_forward("gelu")
        layer.add_residual()
    model.logits("layer")
