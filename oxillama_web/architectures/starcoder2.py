"""StarCoder 2: GPT-2 with rotary positions and grouped-query attention.

Lozhkov et al. 2024, https://arxiv.org/abs/2402.19173.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "starcoder2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a StarCoder 2 file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.feed_forward("gelu")
        layer.add_residual()
    model.logits("layer")
