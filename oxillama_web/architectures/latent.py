"""Latent attention: keys and values of all heads follow from one short vector a token.

DeepSeek-AI 2024, https://arxiv.org/abs/2405.04434. A part of each head's query and key rotates; the
rotating part of the key is common to all heads. Here it comes first in the heads; in files, last.
Older files hold the matrices that make each head's keys and values of the short vector. Newer ones
hold them so that queries are turned into vectors of that kind instead: then that is what the cache
keeps, as one key head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import ModelFormatError
from ..plan.operations.attention import Attention
from ..plan.operations.elementwise import TakeColumns
from ..plan.operations.experts import AllExperts, ExpertLinear
from ..plan.operations.heads import JoinHeads, ScalePositions
from ..plan.operations.rope import Rope

if TYPE_CHECKING:
    from ..plan.operations.rope import RopeStyle
    from .model_builder import Layer, ModelBuilder


class LatentSizes(NamedTuple):
    """Values of a head, and of the short vector.

    Attributes:
        rotated, plain: of queries and keys.
        value: of values.
        rank: of the short vector.
        is_absorbed: whether the file's matrices are those for queries.
    """

    rotated: int
    plain: int
    value: int
    rank: int
    is_absorbed: bool = False


def latent_sizes(model: ModelBuilder) -> LatentSizes:
    """Return the sizes that a file states.

    Raises:
        ModelFormatError: they are missing or do not fit each other.
    """
    hparams, rotated = model.hparams, model.config.rope_dim
    is_absorbed = hparams.has("attention.key_length_mla")
    suffix = "_mla" if is_absorbed else ""
    key = hparams.get_positive(f"attention.key_length{suffix}")
    if key <= rotated:
        raise ModelFormatError(
            f"{hparams.key(f'attention.key_length{suffix}')} is {key}; it must be more than the "
            f"{rotated} values that rotate"
        )
    value = hparams.get_positive(f"attention.value_length{suffix}")
    rank = hparams.get_positive("attention.kv_lora_rank")
    return LatentSizes(rotated, key - rotated, value, rank, is_absorbed)


def latent_attention(
    layer: Layer,
    sizes: LatentSizes,
    style: RopeStyle,
    scale: float,
    *,
    temperature: tuple[tuple[float, ...], int] | None = None,
) -> None:
    """Attend from "h", and project, into "delta".

    Args:
        scale: of the scores.
        temperature: factors of the queries, and of how many positions each is; None: none.
    """
    _queries(layer, sizes)
    _short_vectors(layer, sizes, style)
    if sizes.is_absorbed:
        _absorb(layer, sizes)
    else:
        _unfold(layer, sizes)
    Rope.append(layer.plan, "q", "rope", layer.plan.width("q") // layer.config.n_heads, style)
    if temperature is not None:
        ScalePositions.append(layer.plan, "q", "q", *temperature)
    Attention.append(
        layer.plan,
        "attended",
        "q",
        "k",
        "v",
        n_heads=layer.config.n_heads,
        n_kv_heads=1 if sizes.is_absorbed else layer.config.n_heads,
        scale=scale,
    )
    attended = "attended"
    if sizes.is_absorbed:
        attended = "head_values"
        value = f"{layer.prefix}attn_v_b.weight"
        ExpertLinear.append(layer.plan, attended, "attended", "heads", value)
    layer.linear("attn_output", attended, "delta")


def _queries(layer: Layer, sizes: LatentSizes) -> None:
    """Put the two parts of the queries into "q_rotated" and "q_plain"."""
    if layer.has("attn_q.weight"):
        layer.linear("attn_q", "h", "q_rows")
    else:
        layer.linear("attn_q_a", "h", "q_low")
        layer.rms_norm("attn_q_a_norm", "q_low", "q_low")
        layer.linear("attn_q_b", "q_low", "q_rows")
    width, n_heads = layer.plan.width("q_rows"), layer.config.n_heads
    group = sizes.plain + sizes.rotated
    if width != n_heads * group:
        raise ModelFormatError(
            f"{layer.prefix}: queries have {width} values, not {group} in each of {n_heads} heads"
        )
    plan = layer.plan
    TakeColumns.append(plan, "q_plain", "q_rows", group=group, start=0, count=sizes.plain)
    TakeColumns.append(
        plan, "q_rotated", "q_rows", group=group, start=sizes.plain, count=sizes.rotated
    )


def _short_vectors(layer: Layer, sizes: LatentSizes, style: RopeStyle) -> None:
    """Put the short vector into "kv_low", and the rotated part of the key into "k_rotated"."""
    layer.split("attn_kv_a_mqa", {"attn_kv_low": sizes.rank, "attn_k_rotated": sizes.rotated})
    layer.linear("attn_kv_low", "h", "kv_low")
    layer.linear("attn_k_rotated", "h", "k_rotated")
    layer.rms_norm("attn_kv_a_norm", "kv_low", "kv_low")
    Rope.append(layer.plan, "k_rotated", "rope", sizes.rotated, style)


def _unfold(layer: Layer, sizes: LatentSizes) -> None:
    """Make each head's keys and values of the short vector."""
    plan, n_heads, group = layer.plan, layer.config.n_heads, sizes.plain + sizes.value
    layer.linear("attn_kv_b", "kv_low", "kv_rows")
    if plan.width("kv_rows") != n_heads * group:
        raise ModelFormatError(
            f"tensor '{layer.prefix}attn_kv_b.weight' does not have {group} rows for each of "
            f"{n_heads} heads"
        )
    TakeColumns.append(plan, "k_plain", "kv_rows", group=group, start=0, count=sizes.plain)
    TakeColumns.append(plan, "v", "kv_rows", group=group, start=sizes.plain, count=sizes.value)
    JoinHeads.append(plan, "q", "q_rotated", "q_plain", n_heads)
    JoinHeads.append(plan, "k", "k_rotated", "k_plain", n_heads, is_first_shared=True)


def _absorb(layer: Layer, sizes: LatentSizes) -> None:
    """Turn queries into vectors like the short one, which is key and value of all heads."""
    plan, n_heads = layer.plan, layer.config.n_heads
    AllExperts.append(plan, "heads", "q_plain", n_heads)
    ExpertLinear.append(plan, "q_low_rank", "q_plain", "heads", f"{layer.prefix}attn_k_b.weight")
    JoinHeads.append(plan, "q", "q_rotated", "q_low_rank", n_heads)
    JoinHeads.append(plan, "k", "k_rotated", "kv_low", 1)
    TakeColumns.append(plan, "v", "kv_low", group=sizes.rank, start=0, count=sizes.rank)
