"""What the architectures share: reading sizes, and the parts that their layers are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import ModelConfig
from ..errors import InvalidRequestError, ModelFormatError

if TYPE_CHECKING:
    from ..gguf.reader import GGUFFile
    from ..plan.operations import Activation, PlanBuilder, RopeStyle

TOKEN_EMBEDDING = "token_embd.weight"
POSITION_EMBEDDING = "position_embd.weight"
OUTPUT_NORM = "output_norm.weight"
OUTPUT_HEAD = "output.weight"

# The largest in use are some hundreds: what a broken file asks for must not fill the memory.
MAX_HEAD_DIM = 1 << 16


def read_config(
    gguf: GGUFFile, context_size: int | None, default_rope_base: float = 10000.0
) -> ModelConfig:
    """The sizes that every model states in its metadata, checked against each other.

    Args:
        context_size: how long a context the model is loaded for; None: what it was trained for.

    Raises:
        ModelFormatError: a size is missing, zero, or does not fit the others.
    """
    arch = gguf.get_str("general.architecture")
    hidden_size = _positive(gguf, f"{arch}.embedding_length")
    n_heads = _positive(gguf, f"{arch}.attention.head_count")
    n_kv_heads = _positive(gguf, f"{arch}.attention.head_count_kv", n_heads)
    if n_heads % n_kv_heads:
        raise ModelFormatError(
            f"{n_heads} attention heads cannot be shared by {n_kv_heads} key heads"
        )
    head_dim = _positive(gguf, f"{arch}.attention.key_length", hidden_size // n_heads)
    if head_dim > MAX_HEAD_DIM:
        raise ModelFormatError(f"a head of {head_dim} values is more than {MAX_HEAD_DIM}")
    rope_dim = _positive(gguf, f"{arch}.rope.dimension_count", head_dim)
    if rope_dim > head_dim or rope_dim % 2:
        raise ModelFormatError(
            f"{arch}.rope.dimension_count is {rope_dim}; it must be even and at most the head "
            f"size, {head_dim}"
        )
    if TOKEN_EMBEDDING not in gguf.tensors:
        raise ModelFormatError(f"the file holds no tensor {TOKEN_EMBEDDING!r}")
    context_length = _positive(gguf, f"{arch}.context_length")
    return ModelConfig(
        architecture=arch,
        name=gguf.get_str("general.name", arch),
        n_layers=_positive(gguf, f"{arch}.block_count"),
        hidden_size=hidden_size,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        ffn_size=_positive(gguf, f"{arch}.feed_forward_length"),
        vocab_size=gguf.tensors[TOKEN_EMBEDDING].shape[-1],
        context_length=context_length,
        context_size=context_size or context_length,
        norm_eps=_norm_eps(gguf, arch),
        rope_dim=rope_dim,
        rope_base=gguf.get_float(f"{arch}.rope.freq_base", default_rope_base),
        sliding_window=gguf.get_int(f"{arch}.attention.sliding_window", 0),
    )


def layer_window(gguf: GGUFFile, config: ModelConfig, layer: int, period: int) -> int:
    """The sliding window of a layer: 0 in every `period`-th one, which sees all positions.

    A file may state another period, or layer by layer whether there is a window.
    """
    key = f"{config.architecture}.attention.sliding_window_pattern"
    if isinstance(gguf.metadata.get(key), list):
        pattern = gguf.get_array(key)
        if len(pattern) != config.n_layers:
            raise ModelFormatError(f"{key} has {len(pattern)} entries for {config.n_layers} layers")
        return config.sliding_window if pattern[layer] else 0
    period = gguf.get_int(key, period)
    if period < 0:
        raise ModelFormatError(f"{key} is {period}; it must be 0 or more")
    is_global = period > 0 and (layer + 1) % period == 0
    return 0 if is_global else config.sliding_window


def add_learned_positions(plan: PlanBuilder, gguf: GGUFFile, config: ModelConfig) -> None:
    """Adds a vector for each position to "x".

    Raises:
        InvalidRequestError: the context is to be longer than the positions that were learned.
    """
    plan.position_embed("positions", POSITION_EMBEDDING)
    n_positions = gguf.tensors[POSITION_EMBEDDING].shape[1]
    if config.context_length > n_positions:
        raise ModelFormatError(
            f"tensor {POSITION_EMBEDDING!r} has {n_positions} positions, and the file states a "
            f"context of {config.context_length}"
        )
    if config.context_size > n_positions:
        raise InvalidRequestError(
            f"context_size is {config.context_size}; this model has learned {n_positions} positions"
        )
    plan.add("x", "x", "positions")


def project_qkv(plan: PlanBuilder, config: ModelConfig, block: str, src: str) -> None:
    """Queries, keys and values of a layer into "q", "k" and "v", from one matrix or from three."""
    query_size, key_size = (n * config.head_dim for n in (config.n_heads, config.n_kv_heads))
    for kind in ("weight", "bias"):
        if plan.has(merged := f"{block}attn_qkv.{kind}"):
            sizes = (("q", query_size), ("k", key_size), ("v", key_size))
            plan.split_rows(merged, {f"{block}attn_{name}.{kind}": n for name, n in sizes})
    for name in ("q", "k", "v"):
        plan.linear(name, src, f"{block}attn_{name}.weight", f"{block}attn_{name}.bias")


def rotate(plan: PlanBuilder, config: ModelConfig, table: str, style: RopeStyle) -> None:
    """Rotary positions of "q" and "k"."""
    plan.rope("q", table, config.head_dim, style)
    plan.rope("k", table, config.head_dim, style)


def attend(
    plan: PlanBuilder,
    config: ModelConfig,
    block: str,
    *,
    scale: float | None = None,
    window: int = 0,
    softcap: float = 0.0,
    causal: bool = True,
) -> None:
    """Attention of "q" over "k", "v" and what the cache holds, and its product, into "delta".

    Scores are divided by the square root of the head size, unless another scale is given.
    """
    plan.attention(
        "attended",
        "q",
        "k",
        "v",
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        scale=config.head_dim**-0.5 if scale is None else scale,
        window=window,
        softcap=softcap,
        causal=causal,
    )
    plan.linear("delta", "attended", block + "attn_output.weight", block + "attn_output.bias")


def gated_feed_forward(
    plan: PlanBuilder, config: ModelConfig, block: str, src: str, activation: Activation
) -> None:
    """down(activation(gate(src)) * up(src)) into "delta".

    A matrix of twice the size holds the gate, then the other factor.
    """
    gate, up = block + "ffn_gate", block + "ffn_up"
    if not plan.has(gate + ".weight"):
        n = config.ffn_size
        plan.split_rows(up + ".weight", {gate + ".weight": n, up + ".weight": n})
    plan.linear("gate", src, gate + ".weight", gate + ".bias")
    plan.linear("up", src, up + ".weight", up + ".bias")
    plan.glu("gate", "gate", "up", activation)
    plan.linear("delta", "gate", block + "ffn_down.weight", block + "ffn_down.bias")


def feed_forward(plan: PlanBuilder, block: str, src: str, activation: Activation) -> None:
    """down(activation(up(src))) into "delta"."""
    plan.linear("up", src, block + "ffn_up.weight", block + "ffn_up.bias")
    plan.activate("up", "up", activation)
    plan.linear("delta", "up", block + "ffn_down.weight", block + "ffn_down.bias")


def layer_norm(plan: PlanBuilder, config: ModelConfig, dst: str, src: str, name: str) -> None:
    """A layer norm of `name`.weight and, where the file holds it, `name`.bias."""
    plan.layer_norm(dst, src, name + ".weight", config.norm_eps, name + ".bias")


def output_head(plan: PlanBuilder, logits: str, src: str) -> None:
    """The product with the vocabulary; the embedding serves where there is no own matrix."""
    weight = OUTPUT_HEAD if plan.has(OUTPUT_HEAD) else TOKEN_EMBEDDING
    plan.linear(logits, src, weight, "output.bias")


def _positive(gguf: GGUFFile, key: str, default: int | None = None) -> int:
    value = gguf.get_int(key) if default is None else gguf.get_int(key, default)
    if value < 1:
        raise ModelFormatError(f"{key} is {value}; it must be 1 or more")
    return value


def _norm_eps(gguf: GGUFFile, arch: str) -> float:
    layer_norm_key = f"{arch}.attention.layer_norm_epsilon"
    if layer_norm_key in gguf.metadata:
        return gguf.get_float(layer_norm_key)
    return gguf.get_float(f"{arch}.attention.layer_norm_rms_epsilon")
