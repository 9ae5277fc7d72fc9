"""gpt-oss: a mixture of experts with biases, and attention with sinks.

OpenAI 2025, https://arxiv.org/abs/2508.10925. Every second layer sees the whole context; the others
see a sliding window.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "gpt-oss"

GLOBAL_LAYER_PERIOD = 2


def build(model: ModelBuilder) -> None:
    """Append the operations of a gpt-oss file."""
    model.require_sliding_window()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention(window=layer.window(GLOBAL_LAYER_PERIOD), sinks="attn_sinks")
        layer.add_residual()
        layer.rms_norm("post_attention_norm")
        layer.mixture_of_experts("softmax_of_used", activation="clamped_swiglu")
        layer.add_residual()
    model.logits("rms")
