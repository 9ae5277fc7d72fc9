"""Grok: norms before and after each part of a layer, scores and logits that are bounded, experts.

xAI 2024, https://github.com/xai-org/grok-1. Files without scales are of Grok 1, which has these. In
Grok 2 there is a feed-forward beside the experts.
"""

from ..plan.operations.elementwise import Add, Scale
from .model_builder import Layer, ModelBuilder

ARCHITECTURE = "grok"

SCORE_SCALE = 128**-0.5
SCORE_CAP = 30.0
EMBEDDING_SCALE = 6144**0.5
LOGIT_SCALE = 3**-0.5


def build(model: ModelBuilder) -> None:
    """Append the operations of a Grok file."""
    hparams = model.hparams
    score_scale = hparams.get_float("attention.output_scale", SCORE_SCALE)
    score_cap = hparams.get_float("attn_logit_softcapping", SCORE_CAP)
    model.embed(scale=hparams.get_float("embedding_scale", EMBEDDING_SCALE))
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention(scale=score_scale, softcap=score_cap)
        layer.rms_norm("attn_output_norm", "delta")
        layer.add_residual("h")
        layer.rms_norm("ffn_norm")
        layer.mixture_of_experts("softmax_of_used", activation="gelu")
        if layer.has("ffn_up.weight"):
            _add_feed_forward(layer)
        is_grok_1 = layer.has("layer_output_norm.weight")
        layer.rms_norm("layer_output_norm" if is_grok_1 else "post_ffw_norm", "delta")
        layer.add_residual("h")
    model.logits(
        "rms",
        scale=hparams.get_float("logit_scale", LOGIT_SCALE),
        softcap=hparams.get_float("final_logit_softcapping", 0.0),
    )


def _add_feed_forward(layer: Layer) -> None:
    """Add a feed-forward to "delta", and divide the sum by the square root of 2."""
    layer.gated_feed_forward("gelu", dst="dense")
    Add.append(layer.plan, "delta", "delta", "dense")
    Scale.append(layer.plan, "delta", "delta", 0.5**0.5)
