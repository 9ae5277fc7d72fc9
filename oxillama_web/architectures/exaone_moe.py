"""K-EXAONE: windows in three of four layers, which alone rotate; experts as in DeepSeek.

LG AI Research 2026, https://huggingface.co/LGAI-EXAONE/K-EXAONE-236B-A23B.
"""

from .deepseek import experts_or_feed_forward
from .model_builder import ModelBuilder
from .routing import read_routing

ARCHITECTURE = "exaone-moe"

GLOBAL_LAYER_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of a K-EXAONE file."""
    routing = read_routing(model.hparams)
    model.require_sliding_window()
    model.leave_out_prediction_layers()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD)
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms")
        if window:
            layer.rope("neox")
        layer.attention(window=window)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        experts_or_feed_forward(layer, routing)
        layer.add_residual()
    model.logits("rms")
