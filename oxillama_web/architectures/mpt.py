"""MPT: GPT-2 with ALiBi instead of learned positions, or with both.

MosaicML 2023, https://www.databricks.com/blog/mpt-7b. Values of Q, K and V may be cut off.
"""

from ..errors import UnsupportedModelError
from .model_builder import ModelBuilder

ARCHITECTURE = "mpt"

# scales of activations (AWQ), and norms of Q and K
UNSUPPORTED = ("ffn.act.scales", "attn_q_norm.weight")


def build(model: ModelBuilder) -> None:
    """Append the operations of an MPT file."""
    hparams = model.hparams
    limit = hparams.get_float("attention.clamp_kqv", 0.0)
    max_bias = hparams.get_float("attention.max_alibi_bias", 0.0)
    model.embed()
    if model.has("position_embd.weight"):
        model.learned_positions()
    for layer in model.layers():
        for name in UNSUPPORTED:
            if layer.has(name):
                raise UnsupportedModelError(f"MPT files with tensors {name!r} are not supported")
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.clamp_qkv(limit)
        layer.attention(max_alibi_bias=max_bias)
        layer.add_residual()
        layer.layer_norm("ffn_norm")
        layer.feed_forward("gelu")
        layer.add_residual()
    model.logits("layer")
