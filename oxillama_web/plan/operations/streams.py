"""Rows that hold several vectors side by side: streams of a residual, or parts of a product."""

from dataclasses import dataclass

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import Operation, Partition, Plan, Read, Write


@dataclass(frozen=True, slots=True)
class _ByRows(Operation):
    """Computes a row from the same row of others."""

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)


@dataclass(frozen=True, slots=True)
class PutColumns(_ByRows):
    """dst[t, column + i] = src[t, i], or += src[t, i]."""

    kind = 30
    replicable = True

    dst: Write
    src: Read
    column: int
    add: bool

    @classmethod
    def append(
        cls, plan: PlanBuilder, dst: str, src: str, column: int, width: int, *, add: bool = False
    ) -> None:
        """Put a buffer's values into a wider one, or add them to those that are there.

        Args:
            width: of dst, which is first written from its first value to its last.
        """
        n = plan.width(src)
        if column + n > width:
            raise ModelFormatError(f"{n} values do not fit into {width} from {column} on")
        plan.declare(dst, width, like=src)
        plan.append(cls(dst, src, column, add))


@dataclass(frozen=True, slots=True)
class MixStreams(_ByRows):
    """dst[t, i] = base[t, i] + sum over j of (coefficients[t, i, j] + offset) * src[t, j].

    Each token has its own coefficients, one for each stream of base and of src (AltUp: Baykal et
    al. 2023, https://arxiv.org/abs/2301.13310).
    """

    kind = 31

    dst: Write
    base: Read
    src: Read
    coefficients: Read
    width: int
    offset: float

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        base: str,
        src: str,
        coefficients: str,
        width: int,
        offset: float = 0.0,
    ) -> None:
        """Add mixed streams of `width` values to those of base."""
        n_out, rest = divmod(plan.width(base), width)
        n_in, more = divmod(plan.width(src), width)
        if rest or more or plan.width(coefficients) != n_out * n_in:
            raise ModelFormatError(
                f"{plan.width(coefficients)} coefficients do not mix rows of {plan.width(src)} "
                f"values into {plan.width(base)}, in streams of {width}"
            )
        plan.declare(dst, plan.width(base), like=base)
        plan.append(cls(dst, base, src, coefficients, width, offset))


@dataclass(frozen=True, slots=True)
class MatchLength(_ByRows):
    """dst[t] = src[t] * |reference[t]| / |src[t]|, with Euclidean lengths."""

    kind = 32

    dst: Write
    src: Read
    reference: Read

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, reference: str) -> None:
        """Make rows as long as those of another buffer."""
        plan.declare(dst, plan.same_width(src, reference), like=src)
        plan.append(cls(dst, src, reference))


@dataclass(frozen=True, slots=True)
class KeepLargest(_ByRows):
    """dst = max(0, src - mean - n_deviations * standard deviation), of a row's values.

    If the values are normally distributed, a known part of them stays above 0.
    """

    kind = 33

    dst: Write
    src: Read
    n_deviations: float

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, n_deviations: float) -> None:
        """Make rows sparse. The variance is the sum of squares by one less than the values."""
        if plan.width(src) < 2:
            raise ModelFormatError("one value has no deviation")
        plan.declare(dst, plan.width(src), like=src)
        plan.append(cls(dst, src, n_deviations))
