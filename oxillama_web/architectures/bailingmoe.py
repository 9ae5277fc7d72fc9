"""Ling 1: Llama whose layers have experts, and one more that every token uses.

Ling Team 2025, https://arxiv.org/abs/2503.05139.
"""

from .model_builder import ModelBuilder
from .routing import read_routing

ARCHITECTURE = "bailingmoe"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Ling file."""
    routing = read_routing(model.hparams, gate="softmax")
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.mixture_of_experts(routing)
        layer.add_ungated_shared_expert()
        layer.add_residual()
    model.logits("rms")
