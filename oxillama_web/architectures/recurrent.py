"""Steps of recurrent layers, which several architectures share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from ..plan.operations.elementwise import TakeColumns
from ..plan.operations.recurrent import CausalConv, Decay, GatedDeltaRule, SelectiveScan

if TYPE_CHECKING:
    from .hyperparameters import Hyperparameters
    from .model_builder import Layer


def causal_conv(layer: Layer, name: str, src: str, dst: str, *, silu: bool = False) -> None:
    """Convolve over time with `name`.weight and, where the file holds it, `name`.bias."""
    weight, bias = f"{layer.prefix}{name}.weight", f"{layer.prefix}{name}.bias"
    CausalConv.append(layer.plan, dst, src, weight, bias, silu=silu)


def take_columns(layer: Layer, dst: str, src: str, *, group: int, start: int, count: int) -> None:
    """Copy `count` values of each group of a buffer, from `start` on."""
    TakeColumns.append(layer.plan, dst, src, group=group, start=start, count=count)


def split_rows(layer: Layer, name: str, parts: dict[str, int]) -> None:
    """Name rows of `name`.weight as weights of their own: new names, with their numbers of rows.

    The values of `name`.bias go with them, where the file holds it.
    """
    for kind in (".weight", ".bias"):
        if kind == ".weight" or layer.has(name + kind):
            sizes = {f"{layer.prefix}{part}{kind}": n for part, n in parts.items()}
            layer.plan.split_rows(f"{layer.prefix}{name}{kind}", sizes)


def add_suffix(layer: Layer, *names: str) -> None:
    """Have weights that the file holds without the suffix ".weight" found with it."""
    for name in names:
        if layer.has(name):
            whole = layer.prefix + name
            layer.plan.split_rows(whole, {f"{whole}.weight": layer.plan.shape(whole)[-1]})


def is_linear(layer: Layer) -> bool:
    """Return whether a layer is linear attention: all but every fourth one.

    A file may state another period, or each layer.
    """
    hparams, n_layers = layer.model.hparams, layer.config.n_layers
    n_all = n_layers + hparams.get_int("nextn_predict_layers", 0)
    stated = hparams.get_layer_array("attention.recurrent_layers", n_all)
    if stated is not None:
        return bool(stated[layer.index])
    return (layer.index + 1) % hparams.get_positive("full_attention_interval", 4) != 0


class DeltaNetSizes:
    """The sizes of gated delta rules.

    Attributes:
        head_dim: values in a key and in a value.
        n_key_heads, n_heads: of queries and keys, and of values.
    """

    def __init__(self, hparams: Hyperparameters) -> None:
        """Read them.

        Raises:
            ModelFormatError: one is missing or does not fit the others.
        """
        self.head_dim = hparams.get_positive("ssm.state_size")
        self.n_key_heads = hparams.get_positive("ssm.group_count")
        self.n_heads = hparams.get_positive("ssm.time_step_rank")
        inner_size = hparams.get_positive("ssm.inner_size")
        if inner_size != self.head_dim * self.n_heads or self.n_heads % self.n_key_heads:
            raise ModelFormatError(
                f"{hparams.key('ssm.inner_size')} is {inner_size}; {self.n_heads} heads of "
                f"{self.head_dim} values with {self.n_key_heads} key heads do not fit"
            )

    @property
    def rows(self) -> dict[str, int]:
        """The rows of the merged matrix of queries, keys and values."""
        n_keys = self.n_key_heads * self.head_dim
        return {"q": n_keys, "k": n_keys, "v": self.n_heads * self.head_dim}


def delta_net(layer: Layer, sizes: DeltaNetSizes, *, in_turn: bool) -> None:
    """Gated DeltaNet of "h" into "delta", after "alpha" and "beta" have been computed.

    Yang et al. 2024, https://arxiv.org/abs/2412.06464.

    Args:
        in_turn: whether heads of values take key heads in turn, not neighbours the same.
    """
    plan, prefix = layer.plan, layer.prefix
    split_rows(layer, "attn_qkv", {f"ssm_{name}": n for name, n in sizes.rows.items()})
    split_rows(layer, "ssm_conv1d", {f"ssm_conv_{name}": n for name, n in sizes.rows.items()})
    for name in sizes.rows:
        layer.linear(f"ssm_{name}", "h", f"ssm_{name}")
        causal_conv(layer, f"ssm_conv_{name}", f"ssm_{name}", f"ssm_conv_{name}", silu=True)
    for name in ("ssm_conv_q", "ssm_conv_k"):
        # sum(x^2) + eps = n (mean(x^2) + eps / n): a norm of length 1, up to the square root of n
        eps = layer.config.norm_eps / sizes.head_dim
        layer.unweighted_norm("rms", name, name, group=sizes.head_dim, eps=eps)
    Decay.append(plan, "ssm_decay", "alpha", f"{prefix}ssm_dt.bias", f"{prefix}ssm_a")
    layer.activate("beta", "sigmoid")
    GatedDeltaRule.append(
        plan,
        "ssm_out",
        "ssm_conv_q",
        "ssm_conv_k",
        "ssm_conv_v",
        "ssm_decay",
        "beta",
        n_heads=sizes.n_heads,
        n_key_heads=sizes.n_key_heads,
        in_turn=in_turn,
        query_scale=1 / sizes.head_dim,
        key_scale=sizes.head_dim**-0.5,
    )
    layer.linear("attn_gate", "h", "ssm_gate")
    layer.rms_norm("ssm_norm", "ssm_out", "ssm_out")
    layer.glu("ssm_out", "ssm_gate", "ssm_out", "silu")
    layer.linear("ssm_out", "ssm_out", "delta")


def gated_attention(layer: Layer) -> None:
    """Attention of "h" into "delta" whose result is multiplied by a gate of its own.

    The matrix of queries has for each head the rows of its query, then those of its gate.
    """
    config = layer.config
    dim, n_heads, n_kv_heads = config.head_dim, config.n_heads, config.n_kv_heads
    if layer.has("attn_qkv.weight"):
        rows = {"attn_q": 2 * n_heads * dim, "attn_k": n_kv_heads * dim, "attn_v": n_kv_heads * dim}
        split_rows(layer, "attn_qkv", rows)
    layer.linear("attn_q", "h", "q_gate")
    layer.linear("attn_k", "h", "k")
    layer.linear("attn_v", "h", "v")
    take_columns(layer, "q", "q_gate", group=2 * dim, start=0, count=dim)
    take_columns(layer, "gate_q", "q_gate", group=2 * dim, start=dim, count=dim)
    layer.qk_norms("rms")
    layer.rope("neox")
    layer.attention(gate="gate_q")


class MambaSizes:
    """The sizes of selective scans.

    Attributes:
        inner: values of all heads.
        n_state: values of a state for each of those.
        n_heads: of Mamba 2; in Mamba the inputs of the steps.
        n_groups: of heads that share inputs and outputs of their states.
    """

    def __init__(self, hparams: Hyperparameters) -> None:
        """Read them.

        Raises:
            ModelFormatError: one is missing or does not fit.
        """
        self.inner = hparams.get_positive("ssm.inner_size")
        self.n_state = hparams.get_positive("ssm.state_size")
        self.n_heads = hparams.get_positive("ssm.time_step_rank")
        self.n_groups = hparams.get_int("ssm.group_count", 1) or 1
        if self.n_groups < 1 or self.inner % self.n_groups:
            raise ModelFormatError(
                f"{hparams.key('ssm.group_count')} is {self.n_groups}, which does not divide "
                f"{self.inner} values"
            )


def mamba2(layer: Layer, sizes: MambaSizes, dst: str = "delta") -> None:
    """Mamba 2 of "h". Dao and Gu 2024, https://arxiv.org/abs/2405.21060."""
    n_inner, n_shared = sizes.inner, sizes.n_groups * sizes.n_state
    rows = {"ssm_z": n_inner, "ssm_x": n_inner, "ssm_b": n_shared, "ssm_c": n_shared}
    split_rows(layer, "ssm_in", {**rows, "ssm_step": sizes.n_heads})
    rows.pop("ssm_z")
    split_rows(layer, "ssm_conv1d", {f"ssm_conv.{name}": n for name, n in rows.items()})
    for name in rows:
        layer.linear(name, "h", name)
        causal_conv(layer, f"ssm_conv.{name}", name, f"ssm_conv.{name}", silu=True)
    layer.linear("ssm_step", "h", "ssm_step")
    layer.linear("ssm_z", "h", "ssm_z")
    bias = f"{layer.prefix}ssm_dt.bias"
    scan(layer, sizes.n_heads, sizes.n_groups, bias, *(f"ssm_conv.{name}" for name in rows))
    layer.glu("ssm_y", "ssm_z", "ssm_y", "silu")
    if layer.has("ssm_norm.weight"):
        layer.rms_norm("ssm_norm", "ssm_y", "ssm_y")
    layer.linear("ssm_out", "ssm_y", dst)


def mamba(layer: Layer, sizes: MambaSizes, *, normalized: bool = False) -> None:
    """Mamba of "h" into "delta". Gu and Dao 2023, https://arxiv.org/abs/2312.00752.

    Args:
        normalized: whether steps, inputs and outputs of the states are, without weights. Where the
            file holds weights for that, they are anyway.
    """
    n_inner, n_state = sizes.inner, sizes.n_state
    split_rows(layer, "ssm_in", {"ssm_in_x": n_inner, "ssm_z": n_inner})
    layer.linear("ssm_in_x", "h", "ssm_in_x")
    layer.linear("ssm_z", "h", "ssm_z")
    causal_conv(layer, "ssm_conv1d", "ssm_in_x", "ssm_conv_x", silu=True)
    rows = {"ssm_low": sizes.n_heads, "ssm_b": n_state, "ssm_c": n_state}
    split_rows(layer, "ssm_x", rows)
    for name, norm in zip(rows, ("ssm_dt_norm", "ssm_b_norm", "ssm_c_norm"), strict=True):
        layer.linear(name, "ssm_conv_x", name)
        if layer.has(f"{norm}.weight"):
            layer.rms_norm(norm, name, name)
        elif normalized:
            layer.unweighted_norm("rms", name, name)
    layer.linear("ssm_dt", "ssm_low", "ssm_step")
    scan(layer, 1, 1, None, "ssm_conv_x", "ssm_b", "ssm_c")
    layer.glu("ssm_y", "ssm_z", "ssm_y", "silu")
    layer.linear("ssm_out", "ssm_y", "delta")


def scan(
    layer: Layer, n_heads: int, n_groups: int, bias: str | None, x: str, b: str, c: str
) -> None:
    """Scan "ssm_step" and the inputs into "ssm_y", with the layer's rates and skips."""
    SelectiveScan.append(
        layer.plan,
        "ssm_y",
        x,
        "ssm_step",
        b,
        c,
        bias=bias,
        rate=f"{layer.prefix}ssm_a",
        skip=f"{layer.prefix}ssm_d",
        n_heads=n_heads,
        n_groups=n_groups,
    )
