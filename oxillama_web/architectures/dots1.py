"""dots.llm1: normalized heads of Q and K, and experts as in DeepSeek.

rednote-hilab 2025, https://arxiv.org/abs/2506.05767.
"""

from .deepseek import experts_or_feed_forward
from .model_builder import ModelBuilder
from .routing import read_routing

ARCHITECTURE = "dots1"


def build(model: ModelBuilder) -> None:
    """Append the operations of a dots.llm1 file."""
    routing = read_routing(model.hparams)
    model.leave_out_prediction_layers()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms")
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        experts_or_feed_forward(layer, routing)
        layer.add_residual()
    model.logits("rms")
