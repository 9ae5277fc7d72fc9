"""DeepSeek 1: Llama whose layers, but the first, have experts, and one more that every token uses.

DeepSeek-AI 2024, https://arxiv.org/abs/2401.06066.
"""

from .model_builder import Layer, ModelBuilder
from .routing import Routing, read_routing

ARCHITECTURE = "deepseek"


def build(model: ModelBuilder) -> None:
    """Append the operations of a DeepSeek file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        experts_or_feed_forward(layer, read_routing(model.hparams, gate="softmax"))
        layer.add_residual()
    model.logits("rms")


def experts_or_feed_forward(layer: Layer, routing: Routing) -> None:
    """Give the layers after the first, dense ones experts, also one that every token uses."""
    hparams = layer.model.hparams
    if layer.index < hparams.get_int("leading_dense_block_count", 0):
        layer.gated_feed_forward("silu")
        return
    layer.mixture_of_experts(routing)
    if hparams.get_int("expert_shared_count"):
        layer.add_ungated_shared_expert()
