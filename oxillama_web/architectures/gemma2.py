"""Gemma 2: Gemma with norms after each block too, bounded scores and logits, and sliding windows.

Every other layer has a window. Gemma Team 2024, https://arxiv.org/abs/2408.00118.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "gemma2"

# What Gemma 2 was published with; its first files do not state it.
DEFAULT_WINDOW = 4096
DEFAULT_SCORE_CAP = 50.0
DEFAULT_LOGIT_CAP = 30.0
GLOBAL_LAYER_PERIOD = 2
N_LAYERS_OF_27B = 46


def build(model: ModelBuilder) -> None:
    """Append the operations of a Gemma 2 file."""
    model.override(sliding_window=model.config.sliding_window or DEFAULT_WINDOW)
    scale = attention_scale(model, N_LAYERS_OF_27B)
    score_cap = model.hparams.get_float("attn_logit_softcapping", DEFAULT_SCORE_CAP)
    logit_cap = model.hparams.get_float("final_logit_softcapping", DEFAULT_LOGIT_CAP)
    model.embed(scale=model.config.hidden_size**0.5)
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        window = layer.window(GLOBAL_LAYER_PERIOD)
        layer.attention(scale=scale, window=window, softcap=score_cap)
        layer.rms_norm("post_attention_norm", "delta")
        layer.add_residual("h")
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("gelu")
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
    model.logits("rms", softcap=logit_cap)


def attention_scale(model: ModelBuilder, n_layers_of_27b: int) -> float:
    """Return 1 / sqrt(head size); the 27B model alone takes its hidden size a head instead."""
    config = model.config
    is_27b = config.n_layers == n_layers_of_27b
    return float((config.hidden_size / config.n_heads if is_27b else config.head_dim) ** -0.5)
