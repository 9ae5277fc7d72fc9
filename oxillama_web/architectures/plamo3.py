"""PLaMo 3: norms before and after each part of a layer, normalized Q and K, merged matrices.

Preferred Networks 2025, https://huggingface.co/pfnet/plamo-3-nict-8b-base. Seven of eight layers
have a sliding window, and rotate with a base of their own.
"""

from .model_builder import ModelBuilder
from .rope import unscaled_rope

ARCHITECTURE = "plamo3"

GLOBAL_LAYER_PERIOD = 8
LOCAL_ROPE_BASE = 10000.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a PLaMo 3 file."""
    config = model.config
    local_base = model.hparams.get_float("rope.freq_base_swa", LOCAL_ROPE_BASE)
    model.embed()
    model.rope_table("rope_global")
    if config.sliding_window:
        model.rope_table("rope_local", unscaled_rope(config.rope_dim, local_base))
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD)
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms")
        layer.rope("neox", "rope_local" if window else "rope_global")
        layer.attention(window=window)
        layer.rms_norm("post_attention_norm", "delta", suffix="")
        layer.add_residual("h")
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.rms_norm("post_ffw_norm", "delta", suffix="")
        layer.add_residual("h")
    model.logits("rms")
