"""Qwen 2 VL and 2.5 VL, the text part: Qwen 2.

Wang et al. 2024, https://arxiv.org/abs/2409.12191.
"""

from . import qwen2
from .model_builder import ModelBuilder
from .rope import has_sections

ARCHITECTURE = "qwen2vl"


def build(model: ModelBuilder) -> None:
    """Append the operations of the text part of a Qwen 2 VL file."""
    has_sections(model.hparams, required=True)
    qwen2.build(model)
