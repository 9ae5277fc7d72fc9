"""Mamba 2. Dao and Gu 2024, https://arxiv.org/abs/2405.21060."""

from .model_builder import ModelBuilder
from .recurrent import MambaSizes, mamba2

ARCHITECTURE = "mamba2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Mamba 2 file."""
    sizes = MambaSizes(model.hparams)
    model.embed()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        mamba2(layer, sizes)
        layer.add_residual()
    model.logits("rms")
