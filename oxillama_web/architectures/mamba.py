"""Mamba, and Falcon Mamba. Gu and Dao 2023, https://arxiv.org/abs/2312.00752."""

from .model_builder import ModelBuilder
from .recurrent import MambaSizes, mamba

ARCHITECTURE = "mamba"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Mamba file."""
    sizes = MambaSizes(model.hparams)
    normalized = model.hparams.get_bool("ssm.dt_b_c_rms", False)
    model.embed()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        mamba(layer, sizes, normalized=normalized)
        layer.add_residual()
    model.logits("rms")
