"""PLM: latent attention, and a squared ReLU instead of a gate.

Deng et al. 2025, https://arxiv.org/abs/2503.12167.
"""

from .latent import latent_attention, latent_sizes
from .model_builder import ModelBuilder

ARCHITECTURE = "plm"


def build(model: ModelBuilder) -> None:
    """Append the operations of a PLM file."""
    sizes = latent_sizes(model)
    scale = (sizes.rotated + sizes.plain) ** -0.5
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        latent_attention(layer, sizes, "interleaved", scale)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.feed_forward("relu_squared")
        layer.add_residual()
    model.logits("rms")
