"""Attention over the cache of keys and values."""

from dataclasses import dataclass

from ..plan import CacheRead, CacheWrite, Operation, Partition, Plan, Read, Write


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


@dataclass(frozen=True, slots=True)
class Attention(Operation):
    """dst = softmax(scale * q k^T) v, grouped queries, over the cache of `layer`.

    A token sees itself and what came before it in its sequence; with window > 0 only the last
    `window` positions, its own included; if not causal, its sequence to the end of the batch.
    softcap > 0 bounds the scores: softcap * tanh(score / softcap).
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
