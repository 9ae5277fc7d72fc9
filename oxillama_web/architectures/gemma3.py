"""Gemma 3: Gemma 2 with normalized Q and K, and more local layers, without bounds.

Gemma Team 2025, https://arxiv.org/abs/2503.19786. Every sixth layer sees the whole context; the
others see a sliding window, and rotate with a base of their own, unscaled.
"""

from .gemma2 import attention_scale
from .model_builder import ModelBuilder
from .rope import unscaled_rope

ARCHITECTURE = "gemma3"

GLOBAL_LAYER_PERIOD = 6
GLOBAL_ROPE_BASE = 1e6
LOCAL_ROPE_BASE = 10000.0
N_LAYERS_OF_27B = 62


def build(model: ModelBuilder) -> None:
    """Append the operations of a Gemma 3 file."""
    model.override(rope_base=model.hparams.get_float("rope.freq_base", GLOBAL_ROPE_BASE))
    append_layers(model, scale=attention_scale(model, N_LAYERS_OF_27B))
    model.logits("rms")


def append_layers(model: ModelBuilder, *, scale: float | None = None, causal: bool = True) -> None:
    """Append all layers: what comes before the last norm.

    Args:
        scale, causal: of the attention.
    """
    model.require_sliding_window()
    local_base = model.hparams.get_float("rope.freq_base_swa", LOCAL_ROPE_BASE)
    model.embed(scale=model.config.hidden_size**0.5)
    model.rope_table("rope_local", unscaled_rope(model.config.rope_dim, local_base))
    model.rope_table("rope_global")
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD)
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms")
        layer.rope("neox", "rope_local" if window else "rope_global")
        layer.attention(scale=scale, window=window, causal=causal)
        layer.rms_norm("post_attention_norm", "delta")
        layer.add_residual("h")
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("gelu")
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
