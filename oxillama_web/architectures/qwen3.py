"""Qwen 3: Qwen 2 with normalized Q and K instead of biases.

Qwen Team 2025, https://arxiv.org/abs/2505.09388.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "qwen3"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Qwen 3 file."""
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
        if model.n_experts_used:
            layer.mixture_of_experts("softmax_of_used")
        else:
            layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
