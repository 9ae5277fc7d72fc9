"""Rows of a table: of tokens, or of positions."""

from dataclasses import dataclass

from ..builder import PlanBuilder
from ..plan import Matrix, Operation, Partition, Plan, Write


@dataclass(frozen=True, slots=True)
class Embed(Operation):
    """dst[t] = weight[token[t]] * scale."""

    kind = 1
    replicable = True

    dst: Write
    weight: Matrix
    scale: float

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, weight: str, scale: float = 1.0) -> None:
        """Look up each token's row."""
        n_in, _ = plan.matrix(weight)
        plan.declare(dst, n_in)
        plan.append(cls(dst, weight, scale))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)


@dataclass(frozen=True, slots=True)
class PositionEmbed(Operation):
    """dst[t] = weight[position[t]]: learned absolute positions."""

    kind = 15
    replicable = True

    dst: Write
    weight: Matrix

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, weight: str) -> None:
        """Look up each position's row."""
        n_in, _ = plan.matrix(weight)
        plan.declare(dst, n_in)
        plan.append(cls(dst, weight))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)
