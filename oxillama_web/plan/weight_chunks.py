"""Cuts a plan into segments whose weights fit into a part of memory each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .operations.embedding import Embed
from .operations.linear import Linear

if TYPE_CHECKING:
    from ..gguf.reader import TensorInfo
    from .plan import Operation, Plan

# Weights this small are kept: norms, biases, learned positions of small models.
SMALL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive operations, and the paged weights that they read.

    Attributes:
        first_op: the number of the first operation.
        n_ops: how many there are.
        weights: names, each once.
        n_bytes: of those weights.
    """

    first_op: int
    n_ops: int
    weights: tuple[str, ...]
    n_bytes: int

    @property
    def layer(self) -> int | None:
        """The layer that the weights belong to, the last one if there are several."""
        layers = [int(found[1]) for name in self.weights if (found := _LAYER.match(name))]
        return max(layers, default=None)


def split_large_products(plan: Plan, limit: int, panel_rows: int) -> Plan:
    """The plan with each linear operation of more than `limit` bytes split into rows.

    The parts write one after the other into the same buffer; together they compute the same. The
    token embedding gets a name of its own, because its rows come and go.

    Args:
        panel_rows: the rows that a backend interleaves; each part but the last has a multiple.
    """
    result = replace(plan, ops=[], weights=dict(plan.weights))
    for index, op in enumerate(plan.ops):
        if isinstance(op, Embed):
            # also where it is the output head too
            info = plan.weights[op.weight]
            op = replace(op, weight=f"{op.weight} by rows")
            result.weights[op.weight] = info._replace(name=op.weight)
        parts = _parts(plan, op, limit, panel_rows) if isinstance(op, Linear) else {}
        if isinstance(op, Linear) and len(parts) > 1:
            column = op.column
            for info in parts.values():
                bias = None if op.bias is None else _add_rows(result, op.bias, info, parts)
                result.weights[info.name] = info
                result.ops.append(Linear(op.dst, op.src, info.name, bias, column, op.scale))
                column += info.shape[-1]
        else:
            result.ops.append(op)
        if index + 1 == plan.n_hidden_ops:
            result.n_hidden_ops = len(result.ops)
    used = {name for op in result.ops for name in op.weights}
    result.weights = {name: info for name, info in result.weights.items() if name in used}
    return result


def embedded_weights(plan: Plan) -> set[str]:
    """The weights of which rows are looked up by token."""
    return {op.weight for op in plan.ops if isinstance(op, Embed)}


def tables(plan: Plan) -> set[str]:
    """The weights of which rows are looked up by token, and which nothing else reads."""
    others = {name for op in plan.ops if not isinstance(op, Embed) for name in op.weights}
    return embedded_weights(plan) - others


def paged_weights(plan: Plan, kept: Sequence[str]) -> set[str]:
    """Names of the weights that come and go: matrices of some size, but embeddings are by rows."""
    embedded = embedded_weights(plan)
    multiplied = {name for op in plan.ops if not isinstance(op, Embed) for name in op.weights}
    return {
        name
        for name, info in plan.weights.items()
        if info.nbytes > SMALL_BYTES
        and len(info.shape) > 1
        and name not in kept
        and (name not in embedded or name in multiplied)
    }


def cut(plan: Plan, paged: set[str], limit: int) -> list[Segment]:
    """Segments of at most `limit` bytes, or of one operation; the output head begins one."""
    segments: list[Segment] = []
    first, weights = 0, dict[str, int]()
    for index, op in enumerate(plan.ops):
        needed = {
            name: plan.weights[name].nbytes
            for name in op.weights
            if name in paged and not isinstance(op, Embed)
        }
        merged = weights | needed
        if index > first and (
            (needed and weights and sum(merged.values()) > limit) or index == plan.n_hidden_ops
        ):
            segments.append(_segment(first, index, weights))
            first, merged = index, needed
        weights = merged
    segments.append(_segment(first, len(plan.ops), weights))
    return segments


def _segment(first: int, end: int, weights: dict[str, int]) -> Segment:
    return Segment(first, end - first, tuple(weights), sum(weights.values()))


def _parts(plan: Plan, op: Operation, limit: int, panel_rows: int) -> dict[str, TensorInfo]:
    """Rows of a linear operation's weight, in parts of whole panels."""
    assert isinstance(op, Linear)
    info = plan.weights[op.weight]
    n_rows = info.shape[-1]
    row_bytes = info.nbytes // n_rows
    step = max(limit // row_bytes // panel_rows, 1) * panel_rows
    if info.nbytes <= limit or len(info.shape) != 2:
        return {}
    parts = {}
    for first in range(0, n_rows, step):
        n = min(step, n_rows - first)
        name = f"{op.weight}[{first}:{first + n}]"
        parts[name] = info._replace(
            name=name,
            shape=(info.shape[0], n),
            offset=info.offset + first * row_bytes,
            nbytes=n * row_bytes,
        )
    return parts


def _add_rows(plan: Plan, bias: str, part: TensorInfo, parts: dict[str, TensorInfo]) -> str:
    """The part of a bias that belongs to a part of its weight."""
    first = 0
    for other in parts.values():
        if other.name == part.name:
            break
        first += other.shape[-1]
    n, whole = part.shape[-1], plan.weights[bias]
    name = f"{bias}[{first}:{first + n}]"
    size = whole.nbytes // whole.shape[0]
    plan.weights[name] = whole._replace(
        name=name, shape=(n,), offset=whole.offset + first * size, nbytes=n * size
    )
    return name


_LAYER = re.compile(r"blk\.(\d+)\.")
