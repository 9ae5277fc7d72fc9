"""Seed-OSS: Qwen 2 whose second norm has another name.

ByteDance Seed Team 2025, https://github.com/ByteDance-Seed/seed-oss.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "seed_oss"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Seed-OSS file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("post_attention_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
