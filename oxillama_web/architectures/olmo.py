"""OLMo: Llama with LayerNorm that has no weights, and values of Q, K and V that are cut off.

Groeneveld et al. 2024, https://arxiv.org/abs/2402.00838.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "olmo"


def build(model: ModelBuilder) -> None:
    """Append the operations of an OLMo file."""
    limit = model.hparams.get_float("attention.clamp_kqv", 0.0)
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.unweighted_norm("layer")
        layer.qkv()
        layer.clamp_qkv(limit)
        layer.rope("interleaved")
        layer.attention()
        layer.add_residual()
        layer.unweighted_norm("layer")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("layer", weighted=False)
