"""Where the threads that execute a plan have to wait for each other.

All threads execute all operations, and each does its part of every one: some rows, heads or values.
A barrier is needed before an operation that reads what another thread's part has written, or that
overwrites what another thread may still be reading. A barrier costs as much as half of a small
model's norm, so:

- Two operations that divide a buffer between threads in the same way, such as by heads, need none.
- In a pass of one token, which has the most barriers for its work, buffers that are quick to
  compute (a norm, a sum) are replicated: every thread computes a copy of its own. Only products and
  attention are divided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .plan import PREPARED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .plan import Operation, Partition, Plan

    # a buffer, and how threads divide it
    _Part = tuple[str, Partition]


class Step(NamedTuple):
    """An operation, and all that it reads: `PREPARED` too if an input of it was prepared."""

    operation: Operation
    reads: tuple[str, ...]


class Barrier(NamedTuple):
    """Whether threads wait for each other before an operation."""

    many: bool  # in a pass of several tokens
    one: bool  # in a pass of one token


def replicated_buffers(plan: Plan) -> set[str]:
    """The buffers that every thread computes for itself in a pass of one token.

    Those that share their memory are not among them: their rows of a thread lie at other places.
    """
    shared = {name for name, buffer in plan.buffers.items() if buffer.memory}
    shared |= {plan.memory(name) for name in shared}
    return set(plan.buffers) - {op.writes for op in plan.ops if not op.replicable} - shared


def barriers(plan: Plan, steps: Sequence[Step], replicated: set[str]) -> list[Barrier]:
    """The barrier before each of a plan's steps.

    Args:
        replicated: the plan's `replicated_buffers`.
    """
    many, one = _Accesses(set()), _Accesses(replicated | {PREPARED})
    result = []
    for op, names in steps:
        reads = [_part(op, name, plan) for name in names]
        write = _part(op, op.writes, plan)
        result.append(Barrier(many.need_barrier(reads, write), one.need_barrier(reads, write)))
    return result


def _part(op: Operation, name: str, plan: Plan) -> tuple[str, _Part | None]:
    """The memory of a buffer, and what one thread accesses of it."""
    partition = op.partition(name, plan)
    return plan.memory(name), None if partition is None else (name, partition)


class _Accesses:
    """How the threads have accessed buffers since the last barrier, in one kind of pass.

    Args:
        replicated: buffers of which every thread has a copy of its own.
    """

    def __init__(self, replicated: set[str]) -> None:
        self._replicated = replicated
        self._reads: dict[str, _Part | None] = {}
        self._writes: dict[str, _Part | None] = {}

    def need_barrier(
        self, reads: list[tuple[str, _Part | None]], write: tuple[str, _Part | None]
    ) -> bool:
        """Whether the next operation needs a barrier before it.

        Args:
            reads, write: buffers, and how they are divided.
        """
        is_replicated = write[0] in self._replicated
        # every thread reads all of what it computes its copy from
        reads = [
            (name, None if is_replicated else partition)
            for name, partition in reads
            if name not in self._replicated
        ]
        writes = [] if is_replicated else [write]
        conflict = (
            _differ(self._writes, reads)
            or _differ(self._writes, writes)
            or _differ(self._reads, writes)
        )
        if conflict:
            self._reads, self._writes = {}, {}
        for accessed, accesses in ((self._reads, reads), (self._writes, writes)):
            for name, partition in accesses:
                accessed[name] = partition if accessed.get(name, partition) == partition else None
        return conflict


def _differ(
    accessed: dict[str, _Part | None], accesses: Iterable[tuple[str, _Part | None]]
) -> bool:
    """Whether another thread may have accessed this one's part of a buffer."""
    return any(
        name in accessed and (partition is None or accessed[name] != partition)
        for name, partition in accesses
    )
