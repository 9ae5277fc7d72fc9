"""Command R7B: Command R with a sliding window in three of four layers, and no positions in the
fourth.

Cohere 2025, https://arxiv.org/abs/2504.00698.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "cohere2"

GLOBAL_LAYER_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of a Command R7B file."""
    model.require_sliding_window()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD)
        layer.layer_norm("attn_norm")
        layer.qkv()
        if window:
            layer.rope("interleaved")
        layer.attention(window=window)
        layer.add_residual()
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("layer", scale=model.hparams.get_float("logit_scale"))
