"""Attention over the cache of keys and values."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import (
    CacheRead,
    CacheWrite,
    Constant,
    KVLayer,
    Operation,
    OptionalMatrix,
    OptionalVector,
    Partition,
    Plan,
    Read,
    Write,
)


@dataclass(frozen=True, slots=True)
class KVStore(Operation):
    """Writes the batch's keys and values into the cache of `layer`."""

    kind = 6

    keys: Read
    values: Read
    layer: CacheWrite

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: keys and values by heads."""
        return ("heads", plan.kv_layers[self.layer].n_heads) if name != self.writes else None


class PositionBias(NamedTuple):
    """What is added to scores by the distance between query and key: see `Attention`."""

    tensor: str | None
    buckets: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Attention(Operation):
    """dst = softmax(scale * q k^T) v, grouped queries, over the cache of `layer`.

    A token sees itself and what came before it in its sequence; with window > 0 only the last
    `window` positions, its own included. If not causal, it sees its sequence to the end of the
    batch; with window > 0 only what is at most window // 2 positions away.
    softcap > 0 bounds the scores: softcap * tanh(score / softcap). With `slopes`, one for each
    query head, a score then falls by slope * distance (ALiBi; Press et al. 2022,
    https://arxiv.org/abs/2108.12409). `position_bias`, [buckets, n_heads], is added to scores: the
    bucket of a key is buckets[its distance from the query + len(buckets) // 2], and the outermost
    buckets go on (Raffel et al. 2019, https://arxiv.org/abs/1910.10683). `sinks` has a score for
    each query head that takes part in the softmax and has no value (Xiao et al. 2023,
    https://arxiv.org/abs/2309.17453).
    """

    kind = 7

    dst: Write
    queries: Read
    layer: CacheRead
    n_heads: int
    scale: float
    window: int
    softcap: float
    causal: bool
    slopes: Constant = ()
    sinks: OptionalVector = None
    buckets: Constant = ()
    position_bias: OptionalMatrix = None

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        queries: str,
        keys: str,
        values: str,
        *,
        n_heads: int,
        n_kv_heads: int,
        scale: float,
        window: int = 0,
        softcap: float = 0.0,
        causal: bool = True,
        max_alibi_bias: float = 0.0,
        sinks: str | None = None,
        position_bias: PositionBias | None = None,
    ) -> int:
        """Store keys and values in a layer of the cache, then attend over it.

        All layers that are not causal use one layer of the cache: what such a layer stores is not
        needed after it, for its sequence must come in one batch. With max_alibi_bias > 0 the heads
        have slopes.

        Returns:
            the number of that layer.
        """
        k_dim, k_rest = divmod(plan.width(keys), n_kv_heads)
        v_dim, v_rest = divmod(plan.width(values), n_kv_heads)
        if k_rest or v_rest:
            raise ModelFormatError(
                f"keys of {plan.width(keys)} and values of {plan.width(values)} values do not "
                f"divide into {n_kv_heads} heads"
            )
        kv = KVLayer(n_kv_heads, k_dim, v_dim)
        _check_queries(plan, queries, n_heads, kv)
        if sinks is not None and plan.vector(sinks) != n_heads:
            raise ModelFormatError(f"tensor {sinks!r} does not have a value for each query head")
        layer = plan.cache_layer(kv, shared=not causal)
        plan.declare(dst, n_heads * v_dim, like=queries)
        plan.append(KVStore(keys, values, layer))
        slopes = _alibi_slopes(n_heads, max_alibi_bias) if max_alibi_bias else ()
        bias = position_bias or PositionBias(None, ())
        attention = cls(dst, queries, layer, n_heads, scale, window, softcap, causal, slopes, sinks)
        plan.append(replace(attention, buckets=bias.buckets, position_bias=bias.tensor))
        return layer

    @classmethod
    def append_over(
        cls,
        plan: PlanBuilder,
        dst: str,
        queries: str,
        layer: int,
        *,
        n_heads: int,
        scale: float,
        window: int = 0,
    ) -> None:
        """Attend over a layer of the cache in which an earlier attention has stored its keys."""
        kv = plan.kv_layer(layer)
        _check_queries(plan, queries, n_heads, kv)
        plan.declare(dst, n_heads * kv.v_dim, like=queries)
        plan.append(cls(dst, queries, layer, n_heads, scale, window, 0.0, causal=True))


def _check_queries(plan: PlanBuilder, queries: str, n_heads: int, kv: KVLayer) -> None:
    if plan.width(queries) != n_heads * kv.k_dim or n_heads % kv.n_heads:
        raise ModelFormatError(
            f"attention of {n_heads} query and {kv.n_heads} key heads of {kv.k_dim} values does "
            f"not fit queries of {plan.width(queries)}"
        )


def _alibi_slopes(n_heads: int, max_bias: float) -> tuple[float, ...]:
    """How much each head's scores fall for each position of distance.

    The slopes of n heads, n a power of two, are a geometric series that ends with 2^-max_bias.
    Beyond the largest power of two, heads take every other slope of a series of twice as many.
    """
    n = 1 << (n_heads.bit_length() - 1)
    between = [2.0 ** (-max_bias * (2 * i + 1) / (2 * n)) for i in range(n_heads - n)]
    return (*(2.0 ** (-max_bias * (i + 1) / n) for i in range(n)), *between)
