"""Qwen, the first one: Qwen 2 with one matrix for Q, K and V.

Bai et al. 2023, https://arxiv.org/abs/2309.16609.
"""

from . import qwen2
from .model_builder import ModelBuilder

ARCHITECTURE = "qwen"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Qwen file, which states twice the size of the feed-forward."""
    model.override(ffn_size=model.config.ffn_size // 2)
    qwen2.build(model)
