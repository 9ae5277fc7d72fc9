"""Mixtures of experts. Shazeer et al. 2017, https://arxiv.org/abs/1701.06538."""

from dataclasses import dataclass
from typing import Literal

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import PREPARED, Matrix, Operation, OptionalVector, Plan, Read, Write
from .linear import is_quantized

ExpertWeighting = Literal["softmax_of_all", "softmax_of_used", "sigmoid", "sigmoid_of_used"]


@dataclass(frozen=True, slots=True)
class SelectExperts(Operation):
    """dst[t] = the experts with the `n_used` largest scores, then their weights.

    src[t] holds the logits. A weight is `scale` times the logit's softmax over all experts or over
    those used, or its sigmoid, or that as a part of the used ones' sum. A score is the logit; with
    a bias or groups it is the probability (softmax over all, or sigmoid) plus the bias, which no
    weight depends on. Only the experts in the `n_groups_used` groups whose two best scores have the
    largest sums can be used (DeepSeek-AI 2024, https://arxiv.org/abs/2412.19437).
    """

    kind = 16

    dst: Write
    src: Read
    bias: OptionalVector
    n_used: int
    weighting: ExpertWeighting
    scale: float
    n_groups: int
    n_groups_used: int

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        src: str,
        n_used: int,
        weighting: ExpertWeighting,
        *,
        bias: str | None = None,
        scale: float = 1.0,
        n_groups: int = 1,
        n_groups_used: int = 1,
    ) -> None:
        """Choose each token's experts by their logits."""
        n_experts = plan.width(src)
        if not 0 < n_used <= n_experts:
            raise ModelFormatError(f"a token cannot use {n_used} of {n_experts} experts")
        if bias is not None and plan.vector(bias) != n_experts:
            raise ModelFormatError(f"tensor {bias!r} does not hold {n_experts} experts' values")
        if not 0 < n_groups_used <= n_groups or n_experts % n_groups:
            raise ModelFormatError(
                f"{n_groups_used} of {n_groups} groups cannot be used of {n_experts} experts"
            )
        group = n_experts // n_groups
        if n_groups > 1 and (group < 2 or n_used > n_groups_used * group):
            raise ModelFormatError(
                f"groups of {group} experts are too small: a token uses {n_used} of {n_groups_used}"
            )
        plan.declare(dst, 2 * n_used, like=src)
        plan.append(cls(dst, src, bias, n_used, weighting, scale, n_groups, n_groups_used))


@dataclass(frozen=True, slots=True)
class AllExperts(Operation):
    """dst[t] = the numbers of all experts, then a weight of 1 for each: see `SelectExperts`.

    The matrices of heads are multiplied as those of experts of which every token uses all.
    """

    kind = 41

    dst: Write
    src: Read
    n_experts: int

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, n_experts: int) -> None:
        """Route every row of `src` to all experts."""
        plan.declare(dst, 2 * n_experts, like=src)
        plan.append(cls(dst, src, n_experts))


@dataclass(frozen=True, slots=True)
class ExpertLinear(Operation):
    """dst[t, k] = weight[expert k of token t] @ src[t], or @ src[t, k] where that has its own.

    Times the scale of that expert, and plus its bias, if there are any.
    """

    kind = 17

    dst: Write
    src: Read
    routes: Read
    weight: Matrix
    bias: OptionalVector
    scale: OptionalVector
    n_experts: int

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        src: str,
        routes: str,
        weight: str,
        bias: str | None = None,
    ) -> None:
        """Multiply by the matrices of each token's experts: rows of n_used results.

        The tensor is [n_experts, n_out, n_in]; `src` has n_in values, or those for each expert. A
        bias tensor, [n_experts, n_out], is added where the file holds one of that name.
        """
        selection = plan.writer(routes)
        if isinstance(selection, AllExperts):
            n_experts = n_used = selection.n_experts
        else:
            assert isinstance(selection, SelectExperts)
            n_experts, n_used = plan.width(selection.src), selection.n_used
        shape = plan.whole_shape(weight)
        if len(shape) != 3 or shape[2] != n_experts:
            raise ModelFormatError(
                f"tensor {weight!r} has shape {shape}; it must hold a matrix for each of "
                f"{n_experts} experts"
            )
        if plan.width(src) != n_used * shape[0]:
            plan.check_inputs(weight, shape[0], src)
        if bias is not None and not plan.has(bias):
            bias = None
        if bias is not None and plan.whole_shape(bias) != shape[1:]:
            raise ModelFormatError(
                f"tensor {bias!r} does not have a value for each row of {weight!r}"
            )
        plan.declare(dst, n_used * shape[1], like=src)
        scale = plan.scale_of(weight, n_experts)
        plan.append(cls(dst, src, routes, weight, bias, scale, n_experts))

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
