"""Rotary positions. Su et al. 2021, https://arxiv.org/abs/2104.09864."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import Constant, Operation, Partition, Plan, Read, Update, Write

RopeStyle = Literal["interleaved", "neox"]


@dataclass(frozen=True, slots=True)
class RopeTable(Operation):
    """dst[t] = factor * (cos a, sin a) with angles a = position[t] * frequencies.

    Each interval of positions may have an attention factor of its own; the last one is that of all
    positions after those.
    """

    kind = 4
    replicable = True

    dst: Write
    frequencies: Constant
    attention_factors: Constant
    interval: int

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        frequencies: Sequence[float],
        attention_factors: Sequence[float] = (1.0,),
        interval: int = 1,
    ) -> None:
        """Compute the batch's cosines and sines, for all layers that use these frequencies.

        Args:
            frequencies: in radians a position.
            attention_factors: one for each `interval` positions.
        """
        plan.declare(dst, 2 * len(frequencies))
        plan.append(cls(dst, tuple(frequencies), tuple(attention_factors), interval))

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

    @classmethod
    def append(
        cls, plan: PlanBuilder, buffer: str, table: str, head_dim: int, style: RopeStyle
    ) -> None:
        """Rotate every head of a buffer by its token's position."""
        n_rot, width = plan.width(table), plan.width(buffer)
        if n_rot > head_dim or width % head_dim:
            raise ModelFormatError(
                f"cannot rotate {n_rot} of {head_dim} values a head in rows of {width}"
            )
        plan.append(cls(buffer, table, head_dim, n_rot, style))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: the buffer by heads."""
        if name != self.buffer:
            return None
        return ("heads", plan.buffers[name].width // self.head_dim)
