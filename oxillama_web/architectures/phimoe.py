"""Phi 3.5 MoE: Phi 3 with experts, and biases everywhere.

Abdin et al. 2024, https://arxiv.org/abs/2404.14219. As in llama.cpp, the norms are RMSNorm with a
bias.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "phimoe"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Phi 3.5 MoE file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.mixture_of_experts("softmax_of_used")
        layer.add_residual()
    model.logits("rms")
