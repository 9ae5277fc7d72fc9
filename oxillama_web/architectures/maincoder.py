"""Maincoder: Llama that normalizes each head of Q and K after the rotation.

Maincode 2025, https://huggingface.co/Maincode/Maincoder-1B.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "maincoder"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Maincoder file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved")
        layer.qk_norms("rms")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
