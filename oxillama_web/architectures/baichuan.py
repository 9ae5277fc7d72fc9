"""Baichuan 1 and 2: Llama; the 13B models have ALiBi instead of rotary positions.

Yang et al. 2023, https://arxiv.org/abs/2309.10305. Files do not state which: the number of layers
tells.
"""

from ..errors import UnsupportedModelError
from .model_builder import ModelBuilder

ARCHITECTURE = "baichuan"

N_LAYERS_OF_7B = 32
N_LAYERS_OF_13B = 40
MAX_BIAS = 8.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a Baichuan file."""
    n_layers = model.config.n_layers
    if n_layers not in (N_LAYERS_OF_7B, N_LAYERS_OF_13B):
        raise UnsupportedModelError(
            f"a Baichuan model of {n_layers} layers is unknown: those with rotary positions (7B) "
            f"have {N_LAYERS_OF_7B}, those with ALiBi (13B) {N_LAYERS_OF_13B}"
        )
    has_rope = n_layers == N_LAYERS_OF_7B
    model.embed()
    if has_rope:
        model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        if has_rope:
            layer.rope("interleaved")
        layer.attention(max_alibi_bias=0.0 if has_rope else MAX_BIAS)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
