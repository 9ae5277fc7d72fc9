"""Hunyuan, the dense models: Llama that normalizes each head of Q and K after the rotation.

Tencent Hunyuan Team 2025, https://github.com/Tencent-Hunyuan/Hunyuan-7B. Files may state by how
much the rotary base grows for long contexts (NTK-aware scaling).
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "hunyuan-dense"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Hunyuan file."""
    _scale_rope_base(model)
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.qk_norms("rms")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        if model.n_experts_used:
            layer.mixture_of_experts("softmax_of_used")
            layer.add_ungated_shared_expert()
        else:
            layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")


def _scale_rope_base(model: ModelBuilder) -> None:
    """Raise the base as `rope.scaling.alpha` says."""
    config = model.config
    alpha = model.hparams.get_float("rope.scaling.alpha", 0.0)
    if alpha > 0.0 and config.head_dim > 2:
        growth = alpha ** (config.head_dim / (config.head_dim - 2))
        model.override(rope_base=config.rope_base * growth)
