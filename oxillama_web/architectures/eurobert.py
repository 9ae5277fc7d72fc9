"""EuroBERT: Llama as an encoder.

Boizard et al. 2025, https://arxiv.org/abs/2503.05500.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "eurobert"


def build(model: ModelBuilder) -> None:
    """Append the operations of a EuroBERT file."""
    causal = model.hparams.get_bool("attention.causal")
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention(causal=causal)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.rms_norm("output_norm", "x", "x")
    model.hidden_states()
