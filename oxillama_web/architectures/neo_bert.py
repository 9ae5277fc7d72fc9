"""NeoBERT: EuroBERT with other pairs of rotated values and merged matrices.

Le Breton et al. 2025, https://arxiv.org/abs/2502.19587.
"""

from .eurobert import build_encoder
from .model_builder import ModelBuilder

ARCHITECTURE = "neo-bert"


def build(model: ModelBuilder) -> None:
    """Append the operations of a NeoBERT file."""
    build_encoder(model, "interleaved", "enc.output_norm")
