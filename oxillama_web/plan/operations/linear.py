"""Matrix products."""

from dataclasses import dataclass

from ...gguf.types import FORMATS
from ..builder import PlanBuilder
from ..plan import PREPARED, Matrix, Operation, OptionalVector, Plan, Read, Write


@dataclass(frozen=True, slots=True)
class Linear(Operation):
    """dst[t] = (scale *) weight @ src[t] (+ bias); weight is [n_out, n_in].

    If it has fewer rows than dst has values, the product is written from the value `column` on.
    """

    kind = 3

    dst: Write
    src: Read
    weight: Matrix
    bias: OptionalVector
    column: int = 0
    scale: OptionalVector = None

    @classmethod
    def append(
        cls, plan: PlanBuilder, dst: str, src: str, weight: str, bias: str | None = None
    ) -> None:
        """Multiply by a matrix, and add a bias tensor where the file holds one of that name.

        A scale goes with the matrix where the file holds one; see `PlanBuilder.scale_of`.
        """
        _, n_out = plan.matrix(weight, src)
        bias = plan.bias_of(weight, n_out, bias)
        plan.declare(dst, n_out, like=src)
        plan.append(cls(dst, src, weight, bias, scale=plan.scale_of(weight)))

    @classmethod
    def append_dot(
        cls, plan: PlanBuilder, dst: str, src: str, weight: str, bias: str | None = None
    ) -> None:
        """Multiply by one row, which the file holds as a vector: one value a token."""
        plan.check_inputs(weight, plan.vector(weight), src)
        plan.as_row(weight)
        bias = plan.bias_of(weight, 1, bias)
        plan.declare(dst, 1, like=src)
        plan.append(cls(dst, src, weight, bias))

    def prepared_by(self, plan: Plan) -> Operation | None:
        """See `Operation.prepared_by`: quantized weights take a quantized input."""
        return Quantize(self.src) if is_quantized(plan, self.weight) else None


@dataclass(frozen=True, slots=True)
class Quantize(Operation):
    """Rounds src to 8 bits, as products with quantized weights take it: quant/activations.h.

    Lowering inserts it; architectures and the NumPy backend know nothing of it.
    """

    kind = 20

    src: Read
    dst: Write = PREPARED


def is_quantized(plan: Plan, weight: str) -> bool:
    """Whether a weight is stored in blocks of small integers."""
    return FORMATS[plan.weights[weight].format].block_size > 1
