"""Mistral 4: as DeepSeek 3, with queries that grow with their position.

Mistral AI 2026, https://huggingface.co/mistralai.
"""

from .deepseek2 import build_latent
from .model_builder import ModelBuilder

ARCHITECTURE = "mistral4"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Mistral 4 file."""
    build_latent(model, yarn_factor=1.0)
