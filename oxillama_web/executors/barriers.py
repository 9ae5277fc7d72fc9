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

from .. import plan as p
from . import abi

if TYPE_CHECKING:
    from ..plan import Op, Plan

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
    shared = {p.op_writes(op) for op in plan.ops if not isinstance(op, _QUICK)}
    return set(plan.buffers) - shared


def barriers(plan: Plan) -> list[int]:
    """For each operation, in which passes the threads meet before it: enum ox_barriers."""
    many = _barriers(plan, set(), own_input=False)
    one = _barriers(plan, own_buffers(plan), own_input=True)
    return [
        abi.BARRIER_MANY * before_many | abi.BARRIER_ONE * before_one
        for before_many, before_one in zip(many, one, strict=True)
    ]


class _Touched:
    """What the threads have read and written since they last met."""

    def __init__(self) -> None:
        self._reads: set[tuple[str, Share]] = set()
        self._writes: set[tuple[str, Share]] = set()

    def conflicts(self, reads: dict[str, Share], writes: dict[str, Share]) -> bool:
        """Whether an operation would touch what another thread wrote, or write what it read."""
        touched = self._reads | self._writes
        return any(_overlap(self._writes, name, share) for name, share in reads.items()) or any(
            _overlap(touched, name, share) for name, share in writes.items()
        )

    def add(self, reads: dict[str, Share], writes: dict[str, Share]) -> None:
        self._reads.update(reads.items())
        self._writes.update(writes.items())


def _overlap(touched: set[tuple[str, Share]], name: str, share: Share) -> bool:
    """Whether another thread may have touched what this one's share of a buffer is."""
    return any(
        other == name and (share is None or other_share != share) for other, other_share in touched
    )


def _barriers(plan: Plan, own: set[str], *, own_input: bool) -> list[bool]:
    """Before which operations all threads must meet.

    A linear operation of several tokens quantizes its input (a write), meets the other threads, and
    multiplies (a read); one that follows another with the same input only reads. So does one of
    experts, after it has sorted its inputs by expert.

    Args:
        own: buffers that no thread shares with another.
        own_input: every thread quantizes the input of a linear operation by itself.
    """
    result = []
    touched = _Touched()
    previous: Op | None = None
    for op in plan.ops:
        target = p.op_writes(op)
        # every thread reads all of what its own buffer is computed from
        shares = target not in own
        reads = {
            name: _share(plan, op, name) if shares else None
            for name in p.op_reads(op)
            if name not in own
        }
        writes = {target: _share(plan, op, target)} if shares else {}
        quantizes = False
        if isinstance(op, p.ExpertLinear) or (isinstance(op, p.Linear) and not own_input):
            quantizes = not (type(previous) is type(op) and p.op_reads(previous) == p.op_reads(op))
            (writes if quantizes else reads)[_QUANTIZED] = None
        barrier = touched.conflicts(reads, writes)
        if barrier:
            touched = _Touched()
        if quantizes:
            # the barrier inside the operation, between quantizing and multiplying
            touched = _Touched()
            del writes[_QUANTIZED]
            reads[_QUANTIZED] = None
        touched.add(reads, writes)
        result.append(barrier)
        previous = op
    return result


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
