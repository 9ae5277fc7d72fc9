"""Nemotron-H: layers of Mamba 2, of attention, or of a feed-forward.

NVIDIA 2025, https://arxiv.org/abs/2504.03624.
"""

from .model_builder import ModelBuilder
from .recurrent import MambaSizes, mamba2

ARCHITECTURE = "nemotron_h"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Nemotron-H file."""
    sizes = MambaSizes(model.hparams)
    model.embed()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        if layer.config.ffn_size:
            layer.feed_forward("relu_squared")
        elif layer.config.n_kv_heads:
            layer.qkv()
            layer.attention()
        else:
            mamba2(layer, sizes)
        layer.add_residual()
    model.logits("rms")
