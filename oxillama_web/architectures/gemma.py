"""Gemma: Llama with scaled embeddings, GeGLU and NeoX rotary positions.

Gemma Team 2024, https://arxiv.org/abs/2403.08295. The GGUF converter has already added the 1 that
Gemma adds to its norms' weights.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "gemma"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Gemma file of the first generation."""
    model.embed(scale=model.config.hidden_size**0.5)
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("gelu")
        layer.add_residual()
    model.logits("rms")
