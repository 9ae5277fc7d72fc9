"""Granite: Llama with scales of the embedding, the residual additions, the scores and the logits.

IBM Granite Team 2024, https://github.com/ibm-granite/granite-3.0-language-models; the scales are
those of Yang et al. 2022, https://arxiv.org/abs/2203.03466.
"""

from ..errors import ModelFormatError
from .model_builder import ModelBuilder
from .recurrent import MambaSizes, mamba2

ARCHITECTURE = "granite"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Granite file, also of one whose layers are mostly Mamba 2."""
    hparams = model.hparams
    # 0 means none in these files
    residual_scale = hparams.get_float("residual_scale", 0.0) or 1.0
    attention_scale = hparams.get_float("attention.scale", 0.0) or None
    logit_divisor = hparams.get_float("logit_scale")
    if not logit_divisor:
        raise ModelFormatError(f"{hparams.key('logit_scale')} is 0; the logits are divided by it")
    mamba_sizes = MambaSizes(hparams) if hparams.has("ssm.inner_size") else None
    has_positions = hparams.get_bool("rope.scaling.finetuned", True)
    model.embed(scale=hparams.get_float("embedding_scale", 0.0) or 1.0)
    if has_positions:
        model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        if mamba_sizes and not layer.config.n_kv_heads:
            mamba2(layer, mamba_sizes)
        else:
            layer.qkv()
            if has_positions:
                layer.rope("interleaved")
            layer.attention(scale=attention_scale)
        layer.add_residual(scale=residual_scale)
        layer.rms_norm("ffn_norm")
        if model.n_experts_used:
            layer.mixture_of_experts("softmax_of_used")
            if hparams.get_int("expert_shared_feed_forward_length", 0):
                layer.add_ungated_shared_expert()
        else:
            layer.gated_feed_forward("silu")
        layer.add_residual(scale=residual_scale)
    model.logits("rms", scale=1.0 / logit_divisor)
