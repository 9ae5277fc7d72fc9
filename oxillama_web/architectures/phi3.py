"""Phi 3 and 4: Llama with merged matrices, NeoX rotary positions, and LongRoPE for long contexts.

Abdin et al. 2024, https://arxiv.org/abs/2404.14219. The sliding window that some files state is
left out, as in llama.cpp: it is a remnant of training, and the models do better without it.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "phi3"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Phi 3 or Phi 4 file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
