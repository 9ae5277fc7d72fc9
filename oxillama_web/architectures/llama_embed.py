"""Llama as an encoder, such as Llama-Embed-Nemotron.

Babakhin et al. 2025, https://arxiv.org/abs/2511.07025.
"""

from .eurobert import build_encoder
from .model_builder import ModelBuilder

ARCHITECTURE = "llama-embed"


def build(model: ModelBuilder) -> None:
    """Append the operations of such a file."""
    build_encoder(model, "interleaved", "output_norm")
