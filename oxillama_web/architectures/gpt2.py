"""GPT-2: learned positions, LayerNorm, GELU, biases everywhere.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "gpt2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a GPT-2 file."""
    model.embed()
    model.learned_positions()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.attention()
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.feed_forward("gelu")
        layer.add_residual()
    model.logits("layer")
