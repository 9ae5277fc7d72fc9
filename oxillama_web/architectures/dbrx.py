"""DBRX: LayerNorm, values of Q, K and V that are cut off, and experts.

Databricks 2024, https://www.databricks.com/blog/introducing-dbrx-new-state-art-open-llm.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "dbrx"


def build(model: ModelBuilder) -> None:
    """Append the operations of a DBRX file."""
    limit = model.hparams.get_float("attention.clamp_kqv")
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.clamp_qkv(limit)
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.layer_norm("attn_output_norm")
        layer.mixture_of_experts("softmax_of_used")
        layer.add_residual()
    model.logits("layer")
