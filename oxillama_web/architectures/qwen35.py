"""Qwen 3.5: Gated DeltaNet, and attention with a gate in every fourth layer.

Qwen Team 2026, https://huggingface.co/Qwen.
"""

from .model_builder import ModelBuilder
from .recurrent import DeltaNetSizes, delta_net, gated_attention, is_linear

ARCHITECTURE = "qwen35"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Qwen 3.5 file, with or without experts."""
    model.leave_out_prediction_layers()
    sizes = DeltaNetSizes(model.hparams)
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        if is_linear(layer):
            layer.linear("ssm_alpha", "h", "alpha")
            layer.linear("ssm_beta", "h", "beta")
            delta_net(layer, sizes, in_turn=True)
        else:
            gated_attention(layer)
        layer.add_residual()
        layer.rms_norm("post_attention_norm")
        if model.n_experts_used:
            layer.mixture_of_experts("softmax_of_used")
            layer.add_shared_expert()
        else:
            layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
