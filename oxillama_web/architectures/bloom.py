"""BLOOM: GPT-2 with ALiBi instead of learned positions, and a norm of the embedding.

BigScience Workshop 2022, https://arxiv.org/abs/2211.05100.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "bloom"

MAX_BIAS = 8.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a BLOOM file."""
    model.embed()
    model.layer_norm("token_embd_norm", dst="x")
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.attention(max_alibi_bias=MAX_BIAS)
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.feed_forward("gelu")
        layer.add_residual()
    model.logits("layer")
