"""MiniCPM 3: MiniCPM with latent attention.

Hu et al. 2024, https://arxiv.org/abs/2404.06395. The scales follow from the sizes.
"""

from .latent import latent_attention, latent_sizes
from .minicpm import BASE_WIDTH, DEPTH_SCALE, EMBEDDING_SCALE
from .model_builder import ModelBuilder

ARCHITECTURE = "minicpm3"


def build(model: ModelBuilder) -> None:
    """Append the operations of a MiniCPM 3 file."""
    sizes = latent_sizes(model)
    score_scale = (sizes.rotated + sizes.plain) ** -0.5
    residual_scale = DEPTH_SCALE / model.config.n_layers**0.5
    model.embed(scale=EMBEDDING_SCALE)
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        latent_attention(layer, sizes, "neox", score_scale)
        layer.add_residual(scale=residual_scale)
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual(scale=residual_scale)
    model.logits("rms", scale=BASE_WIDTH / model.config.hidden_size)
