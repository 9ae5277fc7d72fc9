"""GLM 4.5: experts as in DeepSeek; only a part of each head rotates.

GLM Team 2025, https://arxiv.org/abs/2508.06471. The larger models normalize each head of Q and K.
"""

from .deepseek import experts_or_feed_forward
from .model_builder import ModelBuilder
from .rope import has_sections
from .routing import read_routing

ARCHITECTURE = "glm4moe"


def build(model: ModelBuilder) -> None:
    """Append the operations of a GLM 4.5 file."""
    has_sections(model.hparams)
    routing = read_routing(model.hparams, gate="sigmoid")
    model.leave_out_prediction_layers()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms", optional=True)
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("post_attention_norm")
        experts_or_feed_forward(layer, routing)
        layer.add_residual()
    model.logits("rms")
