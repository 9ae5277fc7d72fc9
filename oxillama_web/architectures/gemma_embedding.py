"""EmbeddingGemma: Gemma 3 as an encoder, which gives vectors of texts.

Schechter Vera et al. 2025, https://arxiv.org/abs/2509.20354. Tokens see what follows them; a window
reaches half of its size to both sides.
"""

from .gemma3 import append_layers
from .model_builder import ModelBuilder

ARCHITECTURE = "gemma-embedding"


def build(model: ModelBuilder) -> None:
    """Append the operations of an EmbeddingGemma file."""
    model.override(rope_base=model.hparams.get_float("rope.freq_base"))
    append_layers(model, causal=False)
    model.rms_norm("output_norm", "x", "x")
    model.hidden_states(dense=("dense_2", "dense_3"))
