"""Command R: LayerNorm, scaled logits, attention and feed-forward side by side.

Cohere 2024, https://docs.cohere.com/docs/command-r. The larger models normalize each head of Q and
K.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "command-r"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Command R or Command R+ file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("layer", optional=True)
        layer.rope("interleaved")
        layer.attention()
        layer.add_residual()
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("layer", scale=model.hparams.get_float("logit_scale"))
