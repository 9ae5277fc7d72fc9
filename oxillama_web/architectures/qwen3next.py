"""Qwen 3 Next: Gated DeltaNet, gated attention in every fourth layer, and many small experts.

Qwen Team 2025, https://qwen.ai/blog?id=qwen3-next.
"""

from .model_builder import ModelBuilder
from .recurrent import DeltaNetSizes, delta_net, gated_attention, is_linear, take_columns

ARCHITECTURE = "qwen3next"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Qwen 3 Next file."""
    model.leave_out_prediction_layers()
    sizes = DeltaNetSizes(model.hparams)
    # a matrix has for each key head the rows of beta, then those of alpha, of its value heads
    shared = sizes.n_heads // sizes.n_key_heads
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        if is_linear(layer):
            layer.linear("ssm_ba", "h", "beta_alpha")
            take_columns(layer, "beta", "beta_alpha", group=2 * shared, start=0, count=shared)
            take_columns(layer, "alpha", "beta_alpha", group=2 * shared, start=shared, count=shared)
            delta_net(layer, sizes, in_turn=False)
        else:
            gated_attention(layer)
        layer.add_residual()
        layer.rms_norm("post_attention_norm")
        layer.mixture_of_experts("softmax_of_used")
        layer.add_shared_expert()
        layer.add_residual()
    model.logits("rms")
