"""Norms of rows, or of heads."""

import math
from dataclasses import dataclass

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import Operation, OptionalVector, Partition, Plan, Read, Write


@dataclass(frozen=True, slots=True)
class RMSNorm(Operation):
    """dst = src / sqrt(mean(src^2) + eps) * weight over each group of `group` values.

    Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467. A group is a whole row, or one head.
    Where the weight holds several groups, each head has its own, in turn.
    """

    kind = 2
    replicable = True

    dst: Write
    src: Read
    weight: OptionalVector
    group: int
    eps: float

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, weight: str, eps: float) -> None:
        """Normalize rows, or heads where the weight's first dimension is as long as one head."""
        shape, width = plan.shape(weight), plan.width(src)
        n_values = math.prod(shape)
        if len(shape) > 2 or n_values == 0 or width % n_values:
            raise ModelFormatError(
                f"tensor {weight!r} has shape {shape}, which does not fit a row of {width}"
            )
        plan.declare(dst, width, like=src)
        plan.append(cls(dst, src, weight, shape[0], eps))

    @classmethod
    def append_unweighted(
        cls, plan: PlanBuilder, dst: str, src: str, group: int, eps: float
    ) -> None:
        """Normalize groups of values, and multiply by nothing."""
        plan.declare(dst, _width_of_groups(plan, src, group), like=src)
        plan.append(cls(dst, src, None, group, eps))

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
    weight: OptionalVector
    bias: OptionalVector
    group: int
    eps: float

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        src: str,
        weight: str,
        eps: float,
        bias: str | None = None,
    ) -> None:
        """Normalize rows, or heads where the weight's first dimension is as long as one head.

        A bias tensor is added where the file holds one of that name.
        """
        shape, width = plan.shape(weight), plan.width(src)
        n_values = math.prod(shape)
        if len(shape) > 2 or n_values == 0 or width % n_values:
            raise ModelFormatError(
                f"tensor {weight!r} has shape {shape}, which does not fit a row of {width}"
            )
        bias = plan.bias_of(weight, n_values, bias)
        plan.declare(dst, width, like=src)
        plan.append(cls(dst, src, weight, bias, shape[0], eps))

    @classmethod
    def append_unweighted(
        cls, plan: PlanBuilder, dst: str, src: str, group: int, eps: float
    ) -> None:
        """Normalize groups of values, and multiply by nothing."""
        plan.declare(dst, _width_of_groups(plan, src, group), like=src)
        plan.append(cls(dst, src, None, None, group, eps))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by groups."""
        return ("heads", plan.buffers[name].width // self.group)


def _width_of_groups(plan: PlanBuilder, src: str, group: int) -> int:
    width = plan.width(src)
    if group < 1 or width % group:
        raise ModelFormatError(f"groups of {group} values do not divide a row of {width}")
    return width
