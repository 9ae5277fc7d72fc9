"""LFM2: gated short convolutions, and attention in some layers.

Liquid AI 2025, https://arxiv.org/abs/2511.23404.
"""

from .model_builder import Layer, ModelBuilder
from .recurrent import causal_conv, split_rows
from .routing import read_routing

ARCHITECTURE = "lfm2"


def build(model: ModelBuilder) -> None:
    """Append the operations of an LFM2 file, with or without experts."""
    routing = read_routing(model.hparams, is_normalized=True) if model.n_experts_used else None
    n_dense = model.hparams.get_int("leading_dense_block_count", 0)
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        # a layer without key heads is a convolution
        if layer.config.n_kv_heads:
            layer.qkv()
            layer.qk_norms("rms")
            layer.rope("neox")
            layer.attention(window=layer.config.sliding_window)
        else:
            _short_convolution(layer)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        if routing is None or layer.index < n_dense:
            layer.gated_feed_forward("silu")
        else:
            layer.mixture_of_experts(routing)
        layer.add_residual()
    model.logits("rms", name="token_embd_norm")


def _short_convolution(layer: Layer) -> None:
    """Compute out(c * conv(b * x)) of "h" into "delta"."""
    n = layer.config.hidden_size
    parts = [f"shortconv.{name}" for name in "bcx"]
    split_rows(layer, "shortconv.in_proj", dict.fromkeys(parts, n))
    for name in parts:
        layer.linear(name, "h", name)
    gate_in, gate_out, x = parts
    layer.glu(x, gate_in, x, "identity")
    causal_conv(layer, "shortconv.conv", x, gate_in)
    layer.glu(gate_in, gate_out, gate_in, "identity")
    layer.linear("shortconv.out_proj", gate_in, "delta")
