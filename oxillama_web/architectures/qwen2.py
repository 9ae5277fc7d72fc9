"""Qwen 2: Llama with NeoX rotary positions, and biases of Q, K and V.

Qwen Team 2024, https://arxiv.org/abs/2407.10671.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "qwen2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Qwen 2 or 2.5 file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        if model.n_experts_used:
            layer.mixture_of_experts("softmax_of_all")
            layer.add_shared_expert()
        else:
            layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
