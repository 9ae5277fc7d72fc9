"""EuroBERT: Llama as an encoder.

Boizard et al. 2025, https://arxiv.org/abs/2503.05500.
"""

from ..plan.operations.rope import RopeStyle
from .model_builder import ModelBuilder

ARCHITECTURE = "eurobert"


def build(model: ModelBuilder) -> None:
    """Append the operations of a EuroBERT file."""
    build_encoder(model, "neox", "output_norm")


def build_encoder(model: ModelBuilder, rope: RopeStyle, output_norm: str) -> None:
    """Append the operations of an encoder whose layers are those of Llama.

    Args:
        rope: which values rotate together.
        output_norm: the name of the last norm.
    """
    causal = model.hparams.get_bool("attention.causal")
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope(rope)
        layer.attention(causal=causal)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.rms_norm(output_norm, "x", "x")
    model.hidden_states()
