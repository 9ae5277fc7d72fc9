"""Norms of rows, or of heads."""

from dataclasses import dataclass

from ..plan import Operation, OptionalVector, Partition, Plan, Read, Vector, Write


@dataclass(frozen=True, slots=True)
class RMSNorm(Operation):
    """dst = src / sqrt(mean(src^2) + eps) * weight over each group of `group` values.

    Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467. A group is a whole row, or one head.
    """

    kind = 2
    replicable = True

    dst: Write
    src: Read
    weight: Vector
    group: int
    eps: float

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by groups."""
        return ("heads", plan.buffers[name].width // self.group)


@dataclass(frozen=True, slots=True)
class LayerNorm(Operation):
    """dst = (src - mean) / sqrt(variance + eps) * weight (+ bias) over each group of values.

    Ba et al. 2016, https://arxiv.org/abs/1607.06450. A group is a whole row, or one head. Where the
    weight holds several groups, each head has its own, in turn.
    """

    kind = 12
    replicable = True

    dst: Write
    src: Read
    weight: Vector
    bias: OptionalVector
    group: int
    eps: float

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by groups."""
        return ("heads", plan.buffers[name].width // self.group)
