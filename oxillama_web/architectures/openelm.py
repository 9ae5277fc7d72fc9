"""OpenELM: normalized heads of Q and K, and layers that grow.

Mehta et al. 2024, https://arxiv.org/abs/2404.14619.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "openelm"


def build(model: ModelBuilder) -> None:
    """Append the operations of an OpenELM file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms")
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
