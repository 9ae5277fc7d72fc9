"""EXAONE 4: norms after attention and feed-forward, not before, and of each head of Q and K.

LG AI Research 2025, https://arxiv.org/abs/2507.11407. The 32B model has a sliding window in three
of four layers, and only those rotate.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "exaone4"

GLOBAL_LAYER_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of an EXAONE 4 file."""
    model.leave_out_prediction_layers()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD)
        layer.qkv("x")
        layer.qk_norms("rms")
        if window or not model.config.sliding_window:
            layer.rope("neox")
        layer.attention(window=window)
        layer.rms_norm("post_attention_norm", "delta")
        layer.add_residual("h")
        layer.gated_feed_forward("silu", "x")
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
    model.logits("rms")
