"""Rows of a table: of tokens, or of positions."""

from dataclasses import dataclass

from ..plan import Matrix, Operation, Partition, Plan, Write


@dataclass(frozen=True, slots=True)
class Embed(Operation):
    """dst[t] = weight[token[t]] * scale."""

    kind = 1
    replicable = True

    dst: Write
    weight: Matrix
    scale: float

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

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)
