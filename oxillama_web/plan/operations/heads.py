"""Operations that join heads, or scale rows by their positions."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import Constant, Operation, Partition, Plan, Read, Write


@dataclass(frozen=True, slots=True)
class JoinHeads(Operation):
    """dst[t, h] = first[t, h], then second[t, h]; a `first` of one head is given to every head."""

    kind = 40
    replicable = True

    dst: Write
    first: Read
    second: Read
    first_dim: int
    second_dim: int

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        first: str,
        second: str,
        n_heads: int,
        *,
        is_first_shared: bool = False,
    ) -> None:
        """Join the values of `n_heads` heads."""
        first_dim, first_rest = divmod(plan.width(first), 1 if is_first_shared else n_heads)
        second_dim, second_rest = divmod(plan.width(second), n_heads)
        if first_rest or second_rest:
            raise ModelFormatError(f"{first!r} and {second!r} do not have {n_heads} heads")
        plan.declare(dst, n_heads * (first_dim + second_dim), like=first)
        plan.append(cls(dst, first, second, first_dim, second_dim))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)


@dataclass(frozen=True, slots=True)
class ScalePositions(Operation):
    """dst[t] = src[t] * the factor of its interval of positions, or the last one after those."""

    kind = 42
    replicable = True

    dst: Write
    src: Read
    factors: Constant
    interval: int

    @classmethod
    def append(
        cls, plan: PlanBuilder, dst: str, src: str, factors: Sequence[float], interval: int
    ) -> None:
        """Multiply rows by a factor for each `interval` positions."""
        plan.declare(dst, plan.width(src), like=src)
        plan.append(cls(dst, src, tuple(factors), interval))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)
