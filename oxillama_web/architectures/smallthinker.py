"""SmallThinker: a mixture of experts with ReLU, chosen before attention.

Song et al. 2025, https://arxiv.org/abs/2507.20984. The experts of a layer follow from its input, so
that they can be fetched while attention runs. Every fourth layer, the first one included, sees the
whole context and knows no positions; the others see a sliding window.
"""

from .model_builder import ModelBuilder
from .routing import read_routing

ARCHITECTURE = "smallthinker"

GLOBAL_LAYER_PERIOD = 4


def build(model: ModelBuilder) -> None:
    """Append the operations of a SmallThinker file."""
    routing = read_routing(model.hparams, is_normalized=True)
    has_windows = model.config.sliding_window > 0
    model.embed()
    model.rope_table()
    for layer in model.layers():
        is_global = has_windows and layer.index % GLOBAL_LAYER_PERIOD == 0
        layer.linear("ffn_gate_inp", "x", "router")
        layer.rms_norm("attn_norm")
        layer.qkv()
        if not is_global:
            layer.rope("neox")
        layer.attention(window=layer.window(GLOBAL_LAYER_PERIOD, is_global_first=True))
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.mixture_of_experts(routing, router="router", activation="relu")
        layer.add_residual()
    model.logits("rms")
