"""PLaMo 2: Mamba with steps for heads, and attention in some layers, with norms after each block.

Preferred Networks 2025, https://arxiv.org/abs/2509.04897.
"""

from .model_builder import Layer, ModelBuilder
from .recurrent import MambaSizes, add_suffix, causal_conv, scan, split_rows, take_columns

ARCHITECTURE = "plamo2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a PLaMo 2 file."""
    sizes = MambaSizes(model.hparams)
    model.embed()
    model.rope_table()
    for layer in model.layers():
        add_suffix(layer, "post_attention_norm", "post_ffw_norm")
        layer.rms_norm("attn_norm")
        if layer.config.n_kv_heads:
            layer.qkv()
            layer.qk_norms("rms")
            layer.rope("neox")
            layer.attention()
        else:
            _mamba(layer, sizes)
        layer.rms_norm("post_attention_norm", "delta", "delta")
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.rms_norm("post_ffw_norm", "delta", "delta")
        layer.add_residual()
    model.logits("rms")


def _mamba(layer: Layer, sizes: MambaSizes) -> None:
    """Compute a scan of "h" into "delta". A matrix has for each head the rows of z, then of x."""
    head_dim = sizes.inner // sizes.n_heads
    layer.linear("ssm_in", "h", "ssm_zx")
    take_columns(layer, "ssm_z", "ssm_zx", group=2 * head_dim, start=0, count=head_dim)
    take_columns(layer, "ssm_x", "ssm_zx", group=2 * head_dim, start=head_dim, count=head_dim)
    causal_conv(layer, "ssm_conv1d", "ssm_x", "ssm_conv_x", silu=True)
    n_low = layer.plan.matrix(f"{layer.prefix}ssm_dt.weight")[0]
    rows = {"ssm_b": sizes.n_state, "ssm_c": sizes.n_state, "ssm_dt_low": n_low}
    split_rows(layer, "ssm_x", rows)
    norms = ("ssm_b_norm", "ssm_c_norm", "ssm_dt_norm")
    add_suffix(layer, *norms)
    for name, norm in zip(rows, norms, strict=True):
        layer.linear(name, "ssm_conv_x", name)
        layer.rms_norm(norm, name, name)
    layer.linear("ssm_dt", "ssm_dt_low", "ssm_step")
    scan(layer, sizes.n_heads, 1, None, "ssm_conv_x", "ssm_b", "ssm_c")
    layer.glu("ssm_y", "ssm_z", "ssm_y", "silu")
    layer.linear("ssm_out", "ssm_y", "delta")
