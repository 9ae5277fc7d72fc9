"""The operations of a plan: one dataclass each."""

from .attention import Attention, KVStore
from .elementwise import (
    GLU,
    Activate,
    Activation,
    Add,
    AddBias,
    Scale,
    SelectRows,
    Softcap,
)
from .embedding import Embed, PositionEmbed
from .experts import ExpertLinear, ExpertSum, ExpertWeighting, GatherExperts, SelectExperts
from .linear import Linear, Quantize
from .norms import LayerNorm, RMSNorm
from .rope import Rope, RopeStyle, RopeTable

__all__ = [
    "GLU",
    "Activate",
    "Activation",
    "Add",
    "AddBias",
    "Attention",
    "Embed",
    "ExpertLinear",
    "ExpertSum",
    "ExpertWeighting",
    "GatherExperts",
    "KVStore",
    "LayerNorm",
    "Linear",
    "PositionEmbed",
    "Quantize",
    "RMSNorm",
    "Rope",
    "RopeStyle",
    "RopeTable",
    "Scale",
    "SelectExperts",
    "SelectRows",
    "Softcap",
]
