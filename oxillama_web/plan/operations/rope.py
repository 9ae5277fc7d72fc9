"""Rotary positions. Su et al. 2021, https://arxiv.org/abs/2104.09864."""

from dataclasses import dataclass
from typing import Literal

from ..plan import Constant, Operation, Partition, Plan, Read, Update, Write

RopeStyle = Literal["interleaved", "neox"]


@dataclass(frozen=True, slots=True)
class RopeTable(Operation):
    """dst[t] = magnitude * (cos a, sin a) with angles a = position[t] * inverse_frequencies.

    Each run of `run_length` positions may have a magnitude of its own; the last one is that of all
    positions after it.
    """

    kind = 4
    replicable = True

    dst: Write
    inverse_frequencies: Constant
    magnitudes: Constant
    run_length: int

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)


@dataclass(frozen=True, slots=True)
class Rope(Operation):
    """Rotates pairs of the first `n_rot` values of each head, in place.

    A pair is (2j, 2j+1) in style "interleaved" and (j, j + n_rot/2) in style "neox".
    """

    kind = 5

    buffer: Update
    table: Read
    head_dim: int
    n_rot: int
    style: RopeStyle

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: the buffer by heads."""
        if name != self.buffer:
            return None
        return ("heads", plan.buffers[name].width // self.head_dim)
