"""Phi without a number: Phi 3 where the file has its second norm, else a Phi up to Phi 2."""

from . import phi2, phi3
from .model_builder import ModelBuilder

ARCHITECTURE = "phi"


def build(model: ModelBuilder) -> None:
    """Append the operations of the Phi that the tensors belong to."""
    family = phi3 if model.has("blk.0.ffn_norm.weight") else phi2
    family.build(model)
