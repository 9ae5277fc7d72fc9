"""Mixtures of experts. Shazeer et al. 2017, https://arxiv.org/abs/1701.06538."""

from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class ExpertLinear(Operation):
    """dst[t, k] = weight[expert k of token t] @ src[t], or @ src[t, k] where that has its own."""

    kind = 17

    dst: Write
    src: Read
    routes: Read
    weight: Matrix
    n_experts: int

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
