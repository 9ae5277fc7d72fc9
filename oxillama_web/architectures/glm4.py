"""GLM 4 (2025): ChatGLM with another norm after attention and after the feed-forward.

GLM Team 2024, https://arxiv.org/abs/2406.12793; https://huggingface.co/zai-org/GLM-4-9B-0414.
"""

from ..plan.operations.rope import RopeStyle
from .model_builder import ModelBuilder
from .rope import has_sections

ARCHITECTURE = "glm4"


def build(model: ModelBuilder) -> None:
    """Append the operations of a GLM 4 file."""
    # those that also see images pair values half a head apart
    style: RopeStyle = "neox" if has_sections(model.hparams) else "interleaved"
    model.leave_out_prediction_layers()
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope(style)
        layer.attention()
        layer.rms_norm("post_attention_norm", "delta")
        layer.add_residual("h")
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
    model.logits("rms")
