"""Refact: Llama with ALiBi and one key head.

Small Magellanic Cloud AI 2023, https://huggingface.co/smallcloudai/Refact-1_6B-fim.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "refact"

MAX_BIAS = 8.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a Refact file."""
    model.embed()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.attention(max_alibi_bias=MAX_BIAS)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
