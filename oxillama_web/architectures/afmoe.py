"""Trinity (AFMoE): gated attention, norms before and after each part of a layer, experts.

Arcee AI 2025, https://huggingface.co/arcee-ai/Trinity-Mini. Three of four layers have a sliding
window, and only those rotate.
"""

from .deepseek import experts_or_feed_forward
from .model_builder import ModelBuilder
from .routing import read_routing

ARCHITECTURE = "afmoe"

GLOBAL_LAYER_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of a Trinity file."""
    routing = read_routing(model.hparams, gate="sigmoid")
    model.embed(scale=model.config.hidden_size**0.5)
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms")
        if (layer.index + 1) % GLOBAL_LAYER_PERIOD:
            layer.rope("neox")
        layer.linear("attn_gate", "h", "attn_gate")
        layer.attention(window=layer.window(GLOBAL_LAYER_PERIOD), gate="attn_gate")
        layer.rms_norm("post_attention_norm", "delta")
        layer.add_residual("h")
        layer.rms_norm("ffn_norm")
        experts_or_feed_forward(layer, routing)
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
    model.logits("rms")
