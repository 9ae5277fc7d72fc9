"""Qwen 3 VL as a mixture of experts, the text part: Qwen 3.

Qwen Team 2025, https://arxiv.org/abs/2511.21631.
"""

from . import qwen3
from .model_builder import ModelBuilder
from .rope import has_sections

ARCHITECTURE = "qwen3vlmoe"


def build(model: ModelBuilder) -> None:
    """Append the operations of the text part of a Qwen 3 VL file."""
    has_sections(model.hparams, required=True)
    qwen3.build(model)
