"""Builds a plan: what operations check shapes with and declare their buffers by.

Each operation's `append` takes a builder, checks that the shapes fit, declares the buffer that the
operation writes, and appends the operation.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from .plan import Buffer, KVLayer, Plan, Role, StateLayer, operands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..gguf.reader import TensorInfo
    from .plan import Operation, Rows


class PlanBuilder:
    """A plan under construction.

    Methods that name a weight or a buffer raise ModelFormatError if it does not fit.

    Args:
        tensors: the model file's tensors by name; shapes in GGUF order (shape[0] = input size).
    """

    def __init__(self, tensors: Mapping[str, TensorInfo]) -> None:
        self._tensors = dict(tensors)
        self._plan = Plan()
        self._shared_kv_layers: dict[KVLayer, int] = {}
        # the plan's buffer that each name stands for, now and once the next operation wrote it
        self._current: dict[str, str] = {}
        self._declared: dict[str, str] = {}

    def has(self, weight: str) -> bool:
        """Return whether the model file holds this tensor."""
        return weight in self._tensors

    def split_rows(self, weight: str, parts: Mapping[str, int]) -> None:
        """Name consecutive rows of a tensor as weights of their own; no byte is copied.

        Args:
            weight: a matrix, or a vector of which values count as rows.
            parts: each new name's number of rows, which must add up to the tensor's.
        """
        self.shape(weight)
        tensor = self._tensors.pop(weight)
        n_rows = tensor.shape[-1]
        if sum(parts.values()) != n_rows:
            raise ModelFormatError(
                f"tensor {weight!r} has {n_rows} rows, not the {sum(parts.values())} of "
                f"{', '.join(parts)}"
            )
        row_bytes, offset = tensor.nbytes // n_rows, tensor.offset
        for name, n in parts.items():
            # one of several matrices is a matrix
            is_matrix = len(tensor.shape) == 3 and n == 1
            shape = tensor.shape[:2] if is_matrix else (*tensor.shape[:-1], n)
            self._tensors[name] = tensor._replace(
                name=name, shape=shape, offset=offset, nbytes=n * row_bytes
            )
            offset += n * row_bytes
        if self.has(_scale_name(weight)):
            scale = self._tensors[_scale_name(weight)]
            self._tensors |= {_scale_name(name): scale for name in parts}

    def as_row(self, weight: str) -> None:
        """Make a vector a matrix of one row."""
        tensor = self._tensors[weight]
        self._tensors[weight] = tensor._replace(shape=(self.vector(weight), 1))

    def as_one_row(self, weight: str) -> None:
        """Make a matrix one of a single row with all its values."""
        n_values = math.prod(self.whole_shape(weight))
        self._tensors[weight] = self._tensors[weight]._replace(shape=(n_values, 1))

    def shape(self, weight: str) -> tuple[int, ...]:
        """Return a weight's shape without trailing dimensions of 1, which it loses in the plan."""
        shape = whole = self.whole_shape(weight)
        while len(shape) > 1 and shape[-1] == 1:
            shape = shape[:-1]
        if shape != whole:
            self._tensors[weight] = self._tensors[weight]._replace(shape=shape)
        return shape

    def whole_shape(self, weight: str) -> tuple[int, ...]:
        """Return a weight's shape as the file states it."""
        if weight not in self._tensors:
            raise ModelFormatError(f"the file holds no tensor {weight!r}, which this model needs")
        return self._tensors[weight].shape

    def matrix(self, weight: str, src: str | None = None) -> tuple[int, int]:
        """Return the numbers of inputs and rows of a matrix.

        Args:
            src: a buffer that must have as many values as the matrix has inputs.
        """
        shape = self.shape(weight)
        if len(shape) != 2:
            raise ModelFormatError(f"tensor {weight!r} has shape {shape}; it must be a matrix")
        if src is not None:
            self.check_inputs(weight, shape[0], src)
        return shape[0], shape[1]

    def vector(self, weight: str) -> int:
        """Return the number of values of a vector."""
        shape = self.shape(weight)
        if len(shape) != 1:
            raise ModelFormatError(f"tensor {weight!r} has shape {shape}; it must be a vector")
        return shape[0]

    def bias_of(self, weight: str, n_values: int, bias: str | None) -> str | None:
        """Return the name of a weight's bias, or None where the file does not hold it."""
        if bias is None or not self.has(bias):
            return None
        if self.vector(bias) != n_values:
            raise ModelFormatError(
                f"tensor {bias!r} does not have the {n_values} values of {weight!r}"
            )
        return bias

    def scale_of(self, weight: str, count: int = 1) -> str | None:
        """Return the name of what multiplies a matrix, or None where the file does not hold it.

        `blk.0.attn_q.scale` goes with `blk.0.attn_q.weight`: files of NVFP4 and of BitNet have one
        for a matrix, or one for each of `count` experts. Routers have none; what Gemma 4 calls so
        is a norm.
        """
        scale = _scale_name(weight)
        if not self.has(scale) or weight.endswith("ffn_gate_inp.weight"):
            return None
        n_values = self.vector(scale)
        if n_values != count:
            raise ModelFormatError(
                f"tensor {scale!r} holds {n_values} values, where {count} should be"
            )
        return scale

    def check_inputs(self, weight: str, n_in: int, src: str) -> None:
        """Refuse a buffer with another number of values than the inputs of a weight."""
        if n_in != self.width(src):
            raise ModelFormatError(
                f"tensor {weight!r} takes {n_in} inputs, but its input has {self.width(src)}"
            )

    def width(self, buffer: str) -> int:
        """Return the number of values in a row of a buffer."""
        return self._plan.buffers[self._current.get(buffer, buffer)].width

    def has_buffer(self, buffer: str) -> bool:
        """Return whether an operation has written a buffer of this name."""
        return buffer in self._current

    def same_width(self, a: str, b: str) -> int:
        """Return the width that two buffers have in common."""
        if self.width(a) != self.width(b):
            raise ModelFormatError(
                f"{a!r} has {self.width(a)} values and {b!r} has {self.width(b)}; they must match"
            )
        return self.width(a)

    def writer(self, buffer: str) -> Operation:
        """Return the last operation that writes a buffer."""
        name = self._current[buffer]
        return next(op for op in reversed(self._plan.ops) if op.writes == name)

    def declare(
        self, name: str, width: int, *, like: str | None = None, rows: Rows = "batch"
    ) -> None:
        """Say that the next operation that writes a buffer of this name gives it this width.

        A name may stand for buffers of several widths, one after the other, as where layers differ
        in size. They share their memory.

        Args:
            like: a buffer with the same rows.
            rows: its rows otherwise.
        """
        buffers = self._plan.buffers
        if like is not None:
            rows = buffers[self._current[like]].rows
        buffer, first = Buffer(width, rows), name
        if buffers.get(name, buffer).width != width:
            name, buffer = f"{name}.{width}", Buffer(width, rows, memory=name)
        if buffers.setdefault(name, buffer).rows != rows:
            raise ModelFormatError(f"{name!r} cannot have rows of the {rows}")
        self._declared[first] = name
        self._current.setdefault(first, name)

    def cache_layer(self, layer: KVLayer, *, shared: bool) -> int:
        """Add a layer to the cache and return its number.

        Args:
            shared: it is the one of all operations that ask for such a layer and share it.
        """
        if shared and layer in self._shared_kv_layers:
            return self._shared_kv_layers[layer]
        self._plan.kv_layers.append(layer)
        index = len(self._plan.kv_layers) - 1
        if shared:
            self._shared_kv_layers[layer] = index
        return index

    def kv_layer(self, number: int) -> KVLayer:
        """Return a layer of the cache."""
        return self._plan.kv_layers[number]

    def state(self, rows: int, width: int) -> int:
        """Add a recurrent state, float32 [rows, width], to the cache and return its number."""
        self._plan.states.append(StateLayer(rows, width))
        return len(self._plan.states) - 1

    def append(self, op: Operation) -> None:
        """Add an operation whose buffers are declared and whose shapes fit."""
        reads = _buffers(op, Role.READ, Role.UPDATE)
        names = {field: self._current[name] for field, name in reads.items()}
        for field, name in _buffers(op, Role.WRITE).items():
            names[field] = self._declared.pop(name, self._current[name])
            if name in reads.values() and names[field] != self._current[name]:
                raise ModelFormatError(
                    f"{name!r} cannot change from {self.width(name)} values in place"
                )
            self._current[name] = names[field]
        if any(getattr(op, field) != name for field, name in names.items()):
            op = dataclasses.replace(op, **names)
        self._plan.ops.append(op)

    def build(
        self,
        output: str,
        hidden: str | None = None,
        *,
        is_encoder: bool = False,
        is_reranker: bool = False,
    ) -> Plan:
        """Return the plan.

        Args:
            output: the buffer of the logits or scores.
            hidden: the buffer of the hidden states, from which the output head computes them; None
                for an encoder without output head, whose output is the hidden states.
            is_encoder, is_reranker: see `Plan`.
        """
        plan = self._plan
        plan.is_encoder, plan.is_reranker = is_encoder or hidden is None, is_reranker
        plan.output = self._current[output]
        plan.hidden = self._current[output if hidden is None else hidden]
        writers = [number for number, op in enumerate(plan.ops, 1) if op.writes == plan.hidden]
        plan.n_hidden_ops = writers[-1]
        names = dict.fromkeys(name for op in plan.ops for name in op.weights)
        plan.weights = {name: self._tensors[name] for name in names}
        return plan


def _scale_name(weight: str) -> str:
    return weight.removesuffix(".weight") + ".scale"


def _buffers(op: Operation, *roles: Role) -> dict[str, str]:
    """Return the fields of an operation that name buffers."""
    return {o.name: getattr(op, o.name) for o in operands(type(op)) if o.role in roles}
