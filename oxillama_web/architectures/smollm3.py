"""SmolLM3: Llama in which every fourth layer has no positions.

Bakouch et al. 2025, https://huggingface.co/blog/smollm3; such layers: Yang et al. 2025,
https://arxiv.org/abs/2501.18795.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "smollm3"

NO_ROPE_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of a SmolLM3 file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        if (layer.index + 1) % NO_ROPE_PERIOD != 0:
            layer.rope("interleaved")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
