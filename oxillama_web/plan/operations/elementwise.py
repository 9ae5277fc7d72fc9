"""Functions of single values, and of rows."""

from dataclasses import dataclass
from typing import Literal

from ..plan import Operation, Partition, Plan, Read, Vector, Write

Activation = Literal["silu", "gelu"]


@dataclass(frozen=True, slots=True)
class _Elementwise(Operation):
    """Computes each value of a row from the values at the same place."""

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by values."""
        return ("values", plan.buffers[name].width)


@dataclass(frozen=True, slots=True)
class GLU(_Elementwise):
    """dst = activation(gate) * up. Shazeer 2020, https://arxiv.org/abs/2002.05202."""

    kind = 8

    dst: Write
    gate: Read
    up: Read
    activation: Activation


@dataclass(frozen=True, slots=True)
class Activate(_Elementwise):
    """dst = activation(src)."""

    kind = 13

    dst: Write
    src: Read
    activation: Activation


@dataclass(frozen=True, slots=True)
class Scale(_Elementwise):
    """dst = factor * src."""

    kind = 14
    replicable = True

    dst: Write
    src: Read
    factor: float


@dataclass(frozen=True, slots=True)
class Add(_Elementwise):
    """dst = a + scale * b."""

    kind = 9
    replicable = True

    dst: Write
    a: Read
    b: Read
    scale: float


@dataclass(frozen=True, slots=True)
class Softcap(_Elementwise):
    """dst = cap * tanh(src / cap)."""

    kind = 11

    dst: Write
    src: Read
    cap: float


@dataclass(frozen=True, slots=True)
class AddBias(Operation):
    """dst[t] = src[t] + bias."""

    kind = 19
    replicable = True

    dst: Write
    src: Read
    bias: Vector

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

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: the rows that are selected."""
        return ("heads", 1) if name == self.dst else None
