"""Mixtures of experts. Shazeer et al. 2017, https://arxiv.org/abs/1701.06538."""

from dataclasses import dataclass
from typing import Literal

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import PREPARED, Matrix, Operation, Plan, Read, Write
from .linear import is_quantized

ExpertWeighting = Literal["softmax_of_all", "softmax_of_used", "sigmoid"]


@dataclass(frozen=True, slots=True)
class SelectExperts(Operation):
    """dst[t] = the experts with the `n_used` largest logits src[t], then their weights.

    A weight is the softmax over all experts, or over those used, or the logit's sigmoid.
    """

    kind = 16

    dst: Write
    src: Read
    n_used: int
    weighting: ExpertWeighting

    @classmethod
    def append(
        cls, plan: PlanBuilder, dst: str, src: str, n_used: int, weighting: ExpertWeighting
    ) -> None:
        """Choose each token's experts by their logits."""
        if not 0 < n_used <= plan.width(src):
            raise ModelFormatError(f"a token cannot use {n_used} of {plan.width(src)} experts")
        plan.declare(dst, 2 * n_used, like=src)
        plan.append(cls(dst, src, n_used, weighting))


@dataclass(frozen=True, slots=True)
class ExpertLinear(Operation):
    """dst[t, k] = weight[expert k of token t] @ src[t], or @ src[t, k] where that has its own."""

    kind = 17

    dst: Write
    src: Read
    routes: Read
    weight: Matrix
    n_experts: int

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, routes: str, weight: str) -> None:
        """Multiply by the matrices of each token's experts: rows of n_used results.

        The tensor is [n_experts, n_out, n_in]; `src` has n_in values, or those for each expert.
        """
        selection = plan.writer(routes)
        assert isinstance(selection, SelectExperts)
        shape = plan.whole_shape(weight)
        n_experts, n_used = plan.width(selection.src), selection.n_used
        if len(shape) != 3 or shape[2] != n_experts:
            raise ModelFormatError(
                f"tensor {weight!r} has shape {shape}; it must hold a matrix for each of "
                f"{n_experts} experts"
            )
        if plan.width(src) != n_used * shape[0]:
            plan.check_inputs(weight, shape[0], src)
        plan.declare(dst, n_used * shape[1], like=src)
        plan.append(cls(dst, src, routes, weight, n_experts))

    def prepared_by(self, plan: Plan) -> Operation | None:
        """See `Operation.prepared_by`: the tokens of an expert are multiplied together."""
        n_in = plan.weights[self.weight].shape[0]
        quantized = is_quantized(plan, self.weight)
        return GatherExperts(self.src, self.routes, self.n_experts, n_in, quantized)


@dataclass(frozen=True, slots=True)
class GatherExperts(Operation):
    """The inputs of each expert's tokens one after the other, expert by expert.

    Lowering inserts it; architectures and the NumPy backend know nothing of it.

    Attributes:
        n_in: how many values an expert takes.
        quantized: whether they are rounded to 8 bits, as products with quantized weights take them.
    """

    kind = 21

    src: Read
    routes: Read
    n_experts: int
    n_in: int
    quantized: bool
    dst: Write = PREPARED


@dataclass(frozen=True, slots=True)
class ExpertSum(Operation):
    """dst[t] = the sum of src[t, k] * weight k of token t over the experts k of a token."""

    kind = 18

    dst: Write
    src: Read
    routes: Read

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, routes: str) -> None:
        """Add up the results of each token's experts by their weights."""
        n_used = plan.width(routes) // 2
        plan.declare(dst, plan.width(src) // n_used, like=src)
        plan.append(cls(dst, src, routes))
