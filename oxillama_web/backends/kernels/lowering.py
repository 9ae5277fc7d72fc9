"""Turns a plan's operations into the C kernels' table of numbers, ox_op in kernels_c/ox.h."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ModelFormatError
from ...plan.barriers import Step, barriers, replicated_buffers
from ...plan.plan import PREPARED, Role, operands
from . import abi

if TYPE_CHECKING:
    from collections.abc import Collection

    from ...plan.barriers import Barrier
    from ...plan.plan import Operand, Operation, Plan


class LoweredPlan(NamedTuple):
    """A plan for the kernels.

    Attributes:
        steps: the plan's operations, and between them those that prepare inputs.
        rows: each step as an ox_op.
        first_rows: for each of the plan's operations the number of its first row, that of the
            operation that prepares its input or its own; then the number of rows.
        constants: vectors that operations read, such as the frequencies of rotary positions.
        replicated: the buffers of which every thread computes a copy in a pass of one token.
    """

    steps: list[Step]
    rows: bytes
    first_rows: list[int]
    constants: list[tuple[float, ...]]
    replicated: set[str]


def lower(plan: Plan, n_threads: int, starts: Collection[int] = ()) -> LoweredPlan:
    """Numbers buffers and weights in the plan's order, prepares inputs and finds barriers.

    Args:
        n_threads: that will execute it; a single one has no barriers, which take time to find.
        starts: operations before which nothing is prepared, because others may run in between.

    Raises:
        ModelFormatError: a number does not fit into 32 bits.
    """
    steps, first_rows = _prepare_inputs(plan, starts)
    replicated = replicated_buffers(plan) if n_threads > 1 else set()
    flags = barriers(plan, steps, replicated) if n_threads > 1 else [None] * len(steps)
    table = _Table(plan)
    rows = b"".join(
        table.row(step.operation, barrier) for step, barrier in zip(steps, flags, strict=True)
    )
    return LoweredPlan(steps, rows, first_rows, table.constants, replicated)


def _prepare_inputs(plan: Plan, starts: Collection[int]) -> tuple[list[Step], list[int]]:
    """The plan's steps, and the first of each operation: see `LoweredPlan`.

    An input stays prepared until another one is, or what it was prepared from changes.
    """
    steps: list[Step] = []
    first_rows = []
    prepared: Operation | None = None
    for index, op in enumerate(plan.ops):
        first_rows.append(len(steps))
        if index in starts:
            prepared = None
        reads = op.reads
        needed = op.prepared_by(plan)
        if needed is not None:
            reads += (PREPARED,)
            if needed != prepared:
                steps.append(Step(needed, needed.reads))
                prepared = needed
        steps.append(Step(op, reads))
        if prepared is not None and op.writes in prepared.reads:
            prepared = None
    return steps, [*first_rows, len(steps)]


class _Table:
    """Makes rows of the table, and collects the constants that they name."""

    def __init__(self, plan: Plan) -> None:
        self._buffers = {name: index for index, name in enumerate(plan.buffers)}
        self._weights = {name: index for index, name in enumerate(plan.weights)}
        self.constants: list[tuple[float, ...]] = []
        self._kinds: dict[type[Operation], tuple[tuple[Operand, ...], struct.Struct]] = {}

    def row(self, op: Operation, barrier: Barrier | None) -> bytes:
        flags = 0
        if barrier is not None:
            flags = abi.BARRIER_MANY * barrier.many | abi.BARRIER_ONE * barrier.one
        dst = self._buffers.get(op.writes, -1)
        kind = type(op)
        if kind not in self._kinds:
            self._kinds[kind] = arguments(kind), struct.Struct(row_format(kind))
        fields, form = self._kinds[kind]
        words = [self._word(operand, getattr(op, operand.name)) for operand in fields]
        try:
            return form.pack(op.kind, flags, dst, *words)
        except (struct.error, OverflowError) as error:
            raise ModelFormatError(f"a number of {op} does not fit into 32 bits") from error

    def _word(self, operand: Operand, value: Any) -> int | float:
        match operand.role:
            case Role.READ:
                return self._buffers[value]
            case Role.VECTOR | Role.MATRIX:
                return -1 if value is None else self._weights[value]
            case Role.CONSTANT:
                if not value:
                    return -1
                self.constants.append(value)
                return len(self.constants) - 1
            case Role.CHOICE:
                return operand.choices.index(value)
            case _:
                number: int | float = value
                return number


def arguments(operation: type[Operation]) -> tuple[Operand, ...]:
    """The fields that become words of a row: all but the buffer that is written."""
    return tuple(o for o in operands(operation) if o.role not in (Role.WRITE, Role.UPDATE))


def row_format(operation: type[Operation]) -> str:
    """Of `struct`: kind, barrier, number of the buffer written, a word each argument, padding."""
    words = ["f" if o.role is Role.FLOAT else "i" for o in arguments(operation)]
    n_unused = ctypes.sizeof(abi.Op) - 4 * (3 + len(words))
    return f"<IIi{''.join(words)}{n_unused}x"
