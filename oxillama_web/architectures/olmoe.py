"""OLMoE: a mixture of experts with normalized rows of Q and K.

Muennighoff et al. 2024, https://arxiv.org/abs/2409.02060.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "olmoe"


def build(model: ModelBuilder) -> None:
    """Append the operations of an OLMoE file."""
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
        layer.mixture_of_experts("softmax_of_all")
        layer.add_residual()
    model.logits("rms")
