"""Jamba: Mamba, and attention without positions in some layers; experts in some layers.

Lieber et al. 2024, https://arxiv.org/abs/2403.19887.
"""

from .model_builder import ModelBuilder
from .recurrent import MambaSizes, mamba

ARCHITECTURE = "jamba"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Jamba file."""
    sizes = MambaSizes(model.hparams)
    model.embed()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        if layer.config.n_kv_heads:
            layer.qkv()
            layer.attention()
        else:
            mamba(layer, sizes)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        if layer.has("ffn_gate_inp.weight"):
            layer.mixture_of_experts("softmax_of_all")
        else:
            layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
