"""MiniMax M2: normalized rows of Q and K, and experts that are chosen with a bias.

MiniMax 2025, https://huggingface.co/MiniMaxAI/MiniMax-M2.
"""

from .model_builder import ModelBuilder
from .routing import read_routing

ARCHITECTURE = "minimax-m2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a MiniMax M2 file."""
    routing = read_routing(model.hparams, is_normalized=True)
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
        layer.mixture_of_experts(routing)
        layer.add_residual()
    model.logits("rms")
