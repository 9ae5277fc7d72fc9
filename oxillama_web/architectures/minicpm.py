"""MiniCPM: Llama with scales of the embedding, the residual additions and the logits.

Hu et al. 2024, https://arxiv.org/abs/2404.06395. Files that state no scales are of the first
models, whose scales follow from their sizes.
"""

from ..errors import ModelFormatError
from .model_builder import ModelBuilder

ARCHITECTURE = "minicpm"

EMBEDDING_SCALE = 12.0
DEPTH_SCALE = 1.4
BASE_WIDTH = 256.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a MiniCPM file."""
    config, hparams = model.config, model.hparams
    embedding_scale = hparams.get_float("embedding_scale", EMBEDDING_SCALE)
    residual_scale = hparams.get_float("residual_scale", DEPTH_SCALE / config.n_layers**0.5)
    logit_divisor = hparams.get_float("logit_scale", BASE_WIDTH / config.hidden_size)
    if not logit_divisor:
        raise ModelFormatError("minicpm.logit_scale is 0; the logits are divided by it")
    model.embed(scale=embedding_scale)
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved")
        layer.attention()
        layer.add_residual(scale=residual_scale)
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual(scale=residual_scale)
    model.logits("rms", scale=1.0 / logit_divisor)
