"""Arcee (AFM-4.5B): Llama with a squared ReLU instead of a gate.

Arcee AI 2025, https://huggingface.co/arcee-ai/AFM-4.5B; So et al. 2021,
https://arxiv.org/abs/2109.08668.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "arcee"


def build(model: ModelBuilder) -> None:
    """Append the operations of an Arcee file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.feed_forward("relu_squared")
        layer.add_residual()
    model.logits("rms")
