"""Functions of single values, and of rows."""

from dataclasses import dataclass
from typing import Literal

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import Operation, Partition, Plan, Read, Vector, Write

Activation = Literal["silu", "gelu", "relu", "relu_squared", "sigmoid", "identity"]
Gating = Literal[Activation, "clamped_swiglu"]


@dataclass(frozen=True, slots=True)
class _Elementwise(Operation):
    """Computes each value of a row from the values at the same place."""

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by values."""
        return ("values", plan.buffers[name].width)


@dataclass(frozen=True, slots=True)
class GLU(_Elementwise):
    """dst = activation(gate) * up: a gated linear unit.

    Shazeer 2020, https://arxiv.org/abs/2002.05202. "clamped_swiglu" is g * sigmoid(1.702 g) *
    (u + 1) of g = min(gate, 7) and u = up within -7 .. 7 (OpenAI 2025,
    https://arxiv.org/abs/2508.10925).
    """

    kind = 8

    dst: Write
    gate: Read
    up: Read
    activation: Gating

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, gate: str, up: str, activation: Gating) -> None:
        """Multiply by an activated gate."""
        plan.declare(dst, plan.same_width(gate, up), like=gate)
        plan.append(cls(dst, gate, up, activation))


@dataclass(frozen=True, slots=True)
class Activate(_Elementwise):
    """dst = activation(src)."""

    kind = 13

    dst: Write
    src: Read
    activation: Activation

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, activation: Activation) -> None:
        """Apply a function to each value."""
        plan.declare(dst, plan.width(src), like=src)
        plan.append(cls(dst, src, activation))


@dataclass(frozen=True, slots=True)
class Scale(_Elementwise):
    """dst = factor * src."""

    kind = 14
    replicable = True

    dst: Write
    src: Read
    factor: float

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, factor: float) -> None:
        """Multiply each value."""
        plan.declare(dst, plan.width(src), like=src)
        plan.append(cls(dst, src, factor))


@dataclass(frozen=True, slots=True)
class Add(_Elementwise):
    """dst = a + scale * b."""

    kind = 9
    replicable = True

    dst: Write
    a: Read
    b: Read
    scale: float

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, a: str, b: str, scale: float = 1.0) -> None:
        """Add scale * b to a, as in a residual connection."""
        plan.declare(dst, plan.same_width(a, b), like=a)
        plan.append(cls(dst, a, b, scale))


@dataclass(frozen=True, slots=True)
class Softcap(_Elementwise):
    """dst = cap * tanh(src / cap)."""

    kind = 11

    dst: Write
    src: Read
    cap: float

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, cap: float) -> None:
        """Bound values smoothly."""
        plan.declare(dst, plan.width(src), like=src)
        plan.append(cls(dst, src, cap))


@dataclass(frozen=True, slots=True)
class Clamp(_Elementwise):
    """dst = src, bounded to -limit .. limit."""

    kind = 22

    dst: Write
    src: Read
    limit: float

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, limit: float) -> None:
        """Cut values off."""
        plan.declare(dst, plan.width(src), like=src)
        plan.append(cls(dst, src, limit))


@dataclass(frozen=True, slots=True)
class XIELU(_Elementwise):
    """dst = linear * src + (positive * src^2 above 0, negative * (e^src - 1 - src) below).

    Huang and Schlag 2024, https://arxiv.org/abs/2411.13010.
    """

    kind = 23

    dst: Write
    src: Read
    positive: float
    negative: float
    linear: float

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        src: str,
        *,
        positive: float,
        negative: float,
        linear: float,
    ) -> None:
        """Apply a trained function to each value."""
        plan.declare(dst, plan.width(src), like=src)
        plan.append(cls(dst, src, positive, negative, linear))


@dataclass(frozen=True, slots=True)
class AddBias(Operation):
    """dst[t] = src[t] + bias."""

    kind = 19
    replicable = True

    dst: Write
    src: Read
    bias: Vector

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, bias: str) -> None:
        """Add one vector to every row."""
        width = plan.width(src)
        if plan.vector(bias) != width:
            raise ModelFormatError(f"tensor {bias!r} does not fit a row of {width}")
        plan.declare(dst, width, like=src)
        plan.append(cls(dst, src, bias))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)


@dataclass(frozen=True, slots=True)
class MultiplyVector(Operation):
    """dst[t] = src[t] * weight: a vector, or one value for all."""

    kind = 34
    replicable = True

    dst: Write
    src: Read
    weight: Vector

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, weight: str) -> None:
        """Multiply every row by one vector."""
        width = plan.width(src)
        if plan.vector(weight) not in (1, width):
            raise ModelFormatError(f"tensor {weight!r} does not fit a row of {width}")
        plan.declare(dst, width, like=src)
        plan.append(cls(dst, src, weight))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)


@dataclass(frozen=True, slots=True)
class SelectRows(Operation):
    """dst = the rows of src whose logits were asked for."""

    kind = 10
    replicable = True

    dst: Write
    src: Read

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str) -> None:
        """Drop the tokens whose logits nobody asked for."""
        plan.declare(dst, plan.width(src), rows="output")
        plan.append(cls(dst, src))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: the rows that are selected."""
        return ("heads", 1) if name == self.dst else None


@dataclass(frozen=True, slots=True)
class TakeColumns(Operation):
    """dst[t, g, i] = src[t, g, start + i]: some values of each group of `group` values."""

    kind = 28
    replicable = True

    dst: Write
    src: Read
    group: int
    start: int
    count: int

    @classmethod
    def append(
        cls, plan: PlanBuilder, dst: str, src: str, *, group: int, start: int, count: int
    ) -> None:
        """Copy `count` values of each group, from `start` on."""
        n_groups, rest = divmod(plan.width(src), max(group, 1))
        if rest or count < 1 or start + count > group:
            raise ModelFormatError(f"a row of {plan.width(src)} values has no groups of {group}")
        plan.declare(dst, n_groups * count, like=src)
        plan.append(cls(dst, src, group, start, count))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)
