"""Falcon H1: attention and Mamba 2 side by side in every layer.

Zuo et al. 2025, https://arxiv.org/abs/2507.22448.
"""

from .model_builder import ModelBuilder
from .recurrent import MambaSizes, add_suffix, mamba2

ARCHITECTURE = "falcon-h1"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Falcon H1 file."""
    sizes = MambaSizes(model.hparams)
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        mamba2(layer, sizes, "ssm_delta")
        layer.add_residual()
        layer.add_residual("ssm_delta")
        add_suffix(layer, "ffn_norm")
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
