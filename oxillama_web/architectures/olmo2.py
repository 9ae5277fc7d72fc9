"""OLMo 2 and 3: norms after attention and feed-forward, not before, and of whole rows of Q and K.

OLMo Team 2025, https://arxiv.org/abs/2501.00656. OLMo 3, of the same architecture name, has a
sliding window in three of four layers; those rotate unscaled.
"""

from .model_builder import ModelBuilder
from .rope import unscaled_rope

ARCHITECTURE = "olmo2"

GLOBAL_LAYER_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of an OLMo 2 or OLMo 3 file."""
    config = model.config
    model.embed()
    model.rope_table("rope_global")
    if config.sliding_window:
        model.rope_table("rope_local", unscaled_rope(config.rope_dim, config.rope_base))
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD)
        layer.qkv("x")
        layer.qk_norms("rms")
        layer.rope("neox", "rope_local" if window else "rope_global")
        layer.attention(window=window)
        layer.rms_norm("post_attention_norm", "delta")
        layer.add_residual("h")
        layer.gated_feed_forward("silu", "x")
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
    model.logits("rms")
