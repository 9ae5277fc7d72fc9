"""ModernBERT: an encoder with rotary positions, norms before its blocks, and local layers.

Warner et al. 2024, https://arxiv.org/abs/2412.13663. Every third layer, the first one among them,
sees the whole text; the others see a window, and rotate with a base of their own. The first layer
may have no norm of its input, which is normalized already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnsupportedModelError
from .model_builder import ModelBuilder
from .ranking_head import RankingHead
from .rope import unscaled_rope

if TYPE_CHECKING:
    from ..plan.operations.elementwise import Activation

ARCHITECTURE = "modern-bert"

GLOBAL_LAYER_PERIOD = 3

# {arch}.hidden_activation
_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "geglu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "swiglu": "silu",
    "reglu": "relu",
}


def build(model: ModelBuilder) -> None:
    """Append the operations of a ModernBERT file."""
    activation = _activation(model)
    base = model.hparams.get_float("rope.freq_base")
    local_base = model.hparams.get_float("rope.freq_base_swa", base)
    model.embed()
    model.rope_table("rope_local", unscaled_rope(model.config.rope_dim, local_base))
    model.rope_table("rope_global")
    model.layer_norm("token_embd_norm", "x", "x")
    for layer in model.layers():
        window = layer.window(GLOBAL_LAYER_PERIOD, is_global_first=True)
        has_norm = layer.index > 0 or layer.has("attn_norm.weight")
        if has_norm:
            layer.layer_norm("attn_norm")
        layer.qkv("h" if has_norm else "x")
        layer.rope("neox", "rope_local" if window else "rope_global")
        layer.attention(causal=False, window=window)
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.gated_feed_forward(activation)
        layer.add_residual()
    model.layer_norm("output_norm", "x", "x")
    model.hidden_states(head=RankingHead("mean", "gelu"))


def _activation(model: ModelBuilder) -> Activation:
    """Return the function of the gates."""
    name = model.hparams.get_str("hidden_activation", "gelu")
    if name not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{model.hparams.key('hidden_activation')} is {name!r}; these are supported: "
            + ", ".join(_ACTIVATIONS)
        )
    return _ACTIVATIONS[name]
