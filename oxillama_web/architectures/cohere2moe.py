"""Command A as a mixture of experts, side by side with attention.

Cohere 2026, https://docs.cohere.com/docs/command-a. Three of four layers have a window. Layers with
a window rotate, and the first, dense ones.
"""

from ..plan.operations.elementwise import Scale
from .model_builder import ModelBuilder, Norm
from .routing import read_routing

ARCHITECTURE = "cohere2moe"

GLOBAL_LAYER_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of a Command A file."""
    hparams = model.hparams
    routing = read_routing(hparams, gate="sigmoid")
    n_dense = hparams.get_int("leading_dense_block_count")
    norm: Norm = "rms" if hparams.has("attention.layer_norm_rms_epsilon") else "layer"
    model.leave_out_prediction_layers()
    model.require_sliding_window()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD, is_global_first=True)
        layer.norm(norm, "attn_norm")
        layer.qkv()
        if window or layer.index < n_dense:
            layer.rope("interleaved")
        layer.attention(window=window)
        layer.add_residual()
        if layer.index < n_dense:
            layer.gated_feed_forward("silu")
        else:
            layer.mixture_of_experts(routing)
            if hparams.get_int("expert_shared_count", 0):
                layer.add_ungated_shared_expert()
                Scale.append(layer.plan, "delta", "delta", 0.5)
        layer.add_residual()
    model.logits(norm, scale=hparams.get_float("logit_scale"))
