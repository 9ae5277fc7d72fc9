"""Where the threads that run a plan have to meet.

All threads walk all operations, and each does its share of every one: some rows, heads or values.
They meet before an operation that needs what another thread's share wrote, or overwrites what
another one may still read. A barrier costs as much as half of a small model's norm, so:

- Two operations that share a buffer out in the same way, such as heads, need none between them.
- In a pass of one token, which has the most barriers for its work, every thread computes what is
  quick (a norm, a sum) by itself, in a row of its own. Only products and attention are shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backends.kernels import abi
from . import operations as p

if TYPE_CHECKING:
    from .operations import Op, Plan

    # how the threads divide a buffer among them, and in how many parts; None: in no fixed way
    Share = tuple[str, int] | None

# What a thread computes as quickly as it would wait for others to do it.
_QUICK = (
    *(p.Embed, p.PositionEmbed, p.RMSNorm, p.LayerNorm, p.RopeTable, p.Scale, p.Add, p.AddBias),
    p.SelectRows,
)
# The quantized input of linear operations of several tokens, which all threads use.
_QUANTIZED = "quantized input"


def own_buffers(plan: Plan) -> set[str]:
    """Buffers that every thread computes by itself in a pass of one token."""
    return set(plan.buffers) - {p.op_writes(op) for op in plan.ops if not isinstance(op, _QUICK)}


def barriers(plan: Plan, own: set[str]) -> list[int]:
    """For each operation, in which passes the threads meet before it: enum ox_barriers.

    Args:
        own: the plan's `own_buffers`.
    """
    many, one = _Touched(set(), own_input=False), _Touched(own, own_input=True)
    result = []
    previous: Op | None = None
    previous_reads: tuple[str, ...] = ()
    for op in plan.ops:
        names, target = p.op_reads(op), p.op_writes(op)
        reads = [(name, _share(plan, op, name)) for name in names]
        write = (target, _share(plan, op, target))
        repeats = type(previous) is type(op) and previous_reads == names
        result.append(
            abi.BARRIER_MANY * many.meets(op, reads, write, repeats)
            | abi.BARRIER_ONE * one.meets(op, reads, write, repeats)
        )
        previous, previous_reads = op, names
    return result


class _Touched:
    """What the threads have read and written since they last met, in one kind of passes.

    Args:
        own: buffers that no thread shares with another.
        own_input: every thread quantizes the input of a linear operation by itself.
    """

    def __init__(self, own: set[str], *, own_input: bool) -> None:
        self._own = own
        self._own_input = own_input
        self._reads: dict[str, Share] = {}
        self._writes: dict[str, Share] = {}

    def meets(
        self, op: Op, reads: list[tuple[str, Share]], write: tuple[str, Share], repeats: bool
    ) -> bool:
        """Whether the threads must meet before the next operation.

        A linear operation of several tokens quantizes its input (a write), meets the other threads,
        and multiplies (a read); one that follows another with the same input only reads. So does
        one of experts, after it has sorted its inputs by expert.

        Args:
            reads, write: buffers, and how they are divided.
            repeats: the operation before is of the same kind and reads the same.
        """
        is_own = write[0] in self._own
        # every thread reads all of what its own buffer is computed from
        reads = [
            (name, None if is_own else share) for name, share in reads if name not in self._own
        ]
        writes = [] if is_own else [write]
        shares_input = isinstance(op, p.ExpertLinear) or (
            isinstance(op, p.Linear) and not self._own_input
        )
        quantizes = shares_input and not repeats
        if shares_input:
            (writes if quantizes else reads).append((_QUANTIZED, None))
        barrier = self._conflicts(reads, writes)
        if barrier or quantizes:
            self._reads, self._writes = {}, {}
        if quantizes:
            # the threads have met inside the operation, between quantizing and multiplying
            reads.append(writes.pop())
        for touched, accesses in ((self._reads, reads), (self._writes, writes)):
            for name, share in accesses:
                touched[name] = share if touched.get(name, share) == share else None
        return barrier

    def _conflicts(self, reads: list[tuple[str, Share]], writes: list[tuple[str, Share]]) -> bool:
        """Whether an operation would touch what another thread wrote, or write what it read."""
        return (
            _differ(self._writes, reads)
            or _differ(self._writes, writes)
            or _differ(self._reads, writes)
        )


def _differ(touched: dict[str, Share], accesses: list[tuple[str, Share]]) -> bool:
    """Whether another thread may have touched what this one's share of a buffer is."""
    for name, share in accesses:
        if name in touched and (share is None or touched[name] != share):
            return True
    return False


def _share(plan: Plan, op: Op, name: str) -> Share:
    """How the threads divide a buffer that an operation reads or writes: as the kernels do."""
    match op:
        case p.Add() | p.Scale() | p.Activate() | p.GLU() | p.Softcap():
            return ("values", plan.buffers[name].width)
        case p.RMSNorm() | p.LayerNorm():
            return ("heads", plan.buffers[name].width // op.group)
        case p.Rope() if name == op.buffer:
            return ("heads", plan.buffers[name].width // op.head_dim)
        case p.KVStore() if name in (op.keys, op.values):
            return ("heads", plan.kv_layers[op.layer].n_heads)
        case p.Embed() | p.PositionEmbed() | p.RopeTable() | p.AddBias():
            return ("heads", 1)
        case p.SelectRows() if name == op.dst:
            return ("heads", 1)
        case _:
            return None
