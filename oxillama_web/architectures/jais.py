"""Jais: GPT-2 with ALiBi, SwiGLU, and scores that are divided by the size of a head.

Sengupta et al. 2023, https://arxiv.org/abs/2308.16149.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "jais"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Jais file."""
    max_bias = model.hparams.get_float("attention.max_alibi_bias", 0.0)
    model.embed()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.attention(scale=1.0 / model.config.head_dim, max_alibi_bias=max_bias)
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("layer")
