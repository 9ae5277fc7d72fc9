"""Nemotron 3 and 4: LayerNorm, squared ReLU, and only a part of each head rotates.

NVIDIA 2024, https://arxiv.org/abs/2402.16819. The GGUF converter adds the 1 to the norms' weights.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "nemotron"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Nemotron file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.feed_forward("relu_squared")
        layer.add_residual()
    model.logits("layer")
