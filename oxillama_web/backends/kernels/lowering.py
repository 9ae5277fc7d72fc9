"""Turns a plan's operations into the C kernels' table of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...plan import operations as p
from ...plan.barriers import barriers, own_buffers
from . import abi

if TYPE_CHECKING:
    from ...plan.operations import Op, Plan


# in the order of enum ox_activation
_ACTIVATIONS = ("silu", "gelu")
# in the order of enum ox_weighting
_WEIGHTINGS = ("softmax_of_all", "softmax_of_used", "sigmoid")


class LoweredOps:
    """Operations as C structs.

    Attributes:
        constants: vectors that operations read, such as the frequencies of rotary positions.
        own_buffers: names of those that every thread computes by itself in a pass of one token.
    """

    def __init__(self, own_buffers: set[str]) -> None:
        self.ops: list[abi.Op] = []
        self.constants: list[tuple[float, ...]] = []
        self.own_buffers = own_buffers


def lower_ops(plan: Plan, n_threads: int) -> LoweredOps:
    """Operations with buffers and weights numbered in the plan's order, and with barriers.

    Args:
        n_threads: that will run it; a single one has no barriers, which take time to find.
    """
    buffers = {name: index for index, name in enumerate(plan.buffers)}
    weights = {name: index for index, name in enumerate(plan.weights)}
    lowered = LoweredOps(own_buffers(plan) if n_threads > 1 else set())
    flags = barriers(plan, lowered.own_buffers) if n_threads > 1 else [0] * len(plan.ops)
    for op, barrier in zip(plan.ops, flags, strict=True):
        row = _lower(op, buffers, weights, lowered.constants)
        row.barrier = barrier
        lowered.ops.append(row)
    return lowered


def _lower(
    op: Op,
    buffers: dict[str, int],
    weights: dict[str, int],
    constants: list[tuple[float, ...]],
) -> abi.Op:
    match op:
        case p.Embed():
            return _op(abi.EMBED, dst=buffers[op.dst], tensor=(weights[op.weight],), f=(op.scale,))
        case p.PositionEmbed():
            return _op(abi.POSITION_EMBED, dst=buffers[op.dst], tensor=(weights[op.weight],))
        case p.RMSNorm():
            return _op(
                abi.RMS_NORM,
                src=(buffers[op.src],),
                dst=buffers[op.dst],
                tensor=(weights[op.weight],),
                i=(op.group,),
                f=(op.eps,),
            )
        case p.LayerNorm():
            bias = -1 if op.bias is None else weights[op.bias]
            return _op(
                abi.LAYER_NORM,
                src=(buffers[op.src],),
                dst=buffers[op.dst],
                tensor=(weights[op.weight], bias),
                i=(op.group,),
                f=(op.eps,),
            )
        case p.Linear():
            bias = -1 if op.bias is None else weights[op.bias]
            return _op(
                abi.LINEAR,
                src=(buffers[op.src],),
                dst=buffers[op.dst],
                tensor=(weights[op.weight], bias),
                i=(op.column,),
            )
        case p.RopeTable():
            first = len(constants)
            constants += [op.inverse_frequencies, op.magnitudes]
            return _op(
                abi.ROPE_TABLE,
                dst=buffers[op.dst],
                tensor=(first, first + 1),
                i=(op.run_length,),
            )
        case p.Rope():
            return _op(
                abi.ROPE,
                src=(buffers[op.buffer], buffers[op.table]),
                dst=buffers[op.buffer],
                i=(op.head_dim, op.n_rot, int(op.style == "neox")),
            )
        case p.KVStore():
            return _op(abi.KV_STORE, src=(buffers[op.keys], buffers[op.values]), i=(op.layer,))
        case p.Attention():
            return _op(
                abi.ATTENTION,
                src=(buffers[op.queries],),
                dst=buffers[op.dst],
                i=(op.layer, op.n_heads, op.window, int(not op.causal)),
                f=(op.scale, op.softcap),
            )
        case p.GLU():
            return _op(
                abi.GLU,
                src=(buffers[op.gate], buffers[op.up]),
                dst=buffers[op.dst],
                i=(_ACTIVATIONS.index(op.activation),),
            )
        case p.Activate():
            return _op(
                abi.ACTIVATE,
                src=(buffers[op.src],),
                dst=buffers[op.dst],
                i=(_ACTIVATIONS.index(op.activation),),
            )
        case p.Scale():
            return _op(abi.SCALE, src=(buffers[op.src],), dst=buffers[op.dst], f=(op.factor,))
        case p.Add():
            return _op(
                abi.ADD, src=(buffers[op.a], buffers[op.b]), dst=buffers[op.dst], f=(op.scale,)
            )
        case p.AddBias():
            bias = weights[op.bias]
            return _op(abi.ADD_BIAS, src=(buffers[op.src],), dst=buffers[op.dst], tensor=(bias,))
        case p.SelectRows():
            return _op(abi.SELECT_ROWS, src=(buffers[op.src],), dst=buffers[op.dst])
        case p.Softcap():
            return _op(abi.SOFTCAP, src=(buffers[op.src],), dst=buffers[op.dst], f=(op.cap,))
        case p.SelectExperts() | p.ExpertLinear() | p.ExpertSum():
            return _lower_experts(op, buffers, weights)


def _lower_experts(
    op: p.SelectExperts | p.ExpertLinear | p.ExpertSum,
    buffers: dict[str, int],
    weights: dict[str, int],
) -> abi.Op:
    dst = buffers[op.dst]
    if isinstance(op, p.SelectExperts):
        i = (op.n_used, _WEIGHTINGS.index(op.weighting))
        return _op(abi.SELECT_EXPERTS, src=(buffers[op.src],), dst=dst, i=i)
    src = (buffers[op.src], buffers[op.routes])
    if isinstance(op, p.ExpertSum):
        return _op(abi.EXPERT_SUM, src=src, dst=dst)
    return _op(abi.EXPERT_LINEAR, src=src, dst=dst, tensor=(weights[op.weight],), i=(op.n_experts,))


def _op(
    kind: int,
    *,
    src: tuple[int, ...] = (),
    dst: int = -1,
    tensor: tuple[int, ...] = (),
    i: tuple[int, ...] = (),
    f: tuple[float, ...] = (),
) -> abi.Op:
    row = abi.Op(kind=kind, dst=dst)
    row.src[:] = (*src, -1, -1)[:2]
    row.tensor[:] = (*tensor, -1, -1)[:2]
    row.i[: len(i)] = i
    row.f[: len(f)] = f
    return row
