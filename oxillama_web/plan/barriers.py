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


class Step(NamedTuple):
    """An operation, and all that it reads: `PREPARED` too if an input of it was prepared."""

    operation: Operation
    reads: tuple[str, ...]


class Barrier(NamedTuple):
    """Whether threads wait for each other before an operation."""

    many: bool  # in a pass of several tokens
    one: bool  # in a pass of one token


def replicated_buffers(plan: Plan) -> set[str]:
    """The buffers that every thread computes for itself in a pass of one token."""
    return set(plan.buffers) - {op.writes for op in plan.ops if not op.replicable}


def barriers(plan: Plan, steps: Sequence[Step], replicated: set[str]) -> list[Barrier]:
    """The barrier before each of a plan's steps.

    Args:
        replicated: the plan's `replicated_buffers`.
    """
    many, one = _Accesses(set()), _Accesses(replicated | {PREPARED})
    result = []
    for op, names in steps:
        reads = [(name, op.partition(name, plan)) for name in names]
        write = (op.writes, op.partition(op.writes, plan))
        result.append(Barrier(many.need_barrier(reads, write), one.need_barrier(reads, write)))
    return result


class _Accesses:
    """How the threads have accessed buffers since the last barrier, in one kind of pass.

    Args:
        replicated: buffers of which every thread has a copy of its own.
    """

    def __init__(self, replicated: set[str]) -> None:
        self._replicated = replicated
        self._reads: dict[str, Partition | None] = {}
        self._writes: dict[str, Partition | None] = {}

    def need_barrier(
        self, reads: list[tuple[str, Partition | None]], write: tuple[str, Partition | None]
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
    accessed: dict[str, Partition | None], accesses: Iterable[tuple[str, Partition | None]]
) -> bool:
    """Whether another thread may have accessed this one's part of a buffer."""
    return any(
        name in accessed and (partition is None or accessed[name] != partition)
        for name, partition in accesses
    )
