"""ERNIE 4.5 as a mixture of experts: some layers have experts, and one more that every token uses.

Baidu 2025, https://yiyan.baidu.com/blog/publication/ERNIE_Technical_Report.pdf.
"""

from .model_builder import ModelBuilder
from .routing import read_routing

ARCHITECTURE = "ernie4_5-moe"


def build(model: ModelBuilder) -> None:
    """Append the operations of an ERNIE 4.5 file."""
    hparams = model.hparams
    routing = read_routing(hparams, gate="softmax", is_normalized=True)
    n_dense = hparams.get_int("leading_dense_block_count", 0)
    step = hparams.get_positive("interleave_moe_layer_step")
    has_shared = hparams.get_int("expert_shared_feed_forward_length", 0) > 0
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        if layer.index < n_dense or (layer.index + 1) % step:
            layer.gated_feed_forward("silu")
        else:
            layer.mixture_of_experts(routing)
            if has_shared:
                layer.add_ungated_shared_expert()
        layer.add_residual()
    model.logits("rms")
