"""Builds a plan: operations with their buffers declared, and shapes checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from .operations import (
    GLU,
    Activate,
    Add,
    AddBias,
    Attention,
    Embed,
    ExpertLinear,
    ExpertSum,
    KVStore,
    LayerNorm,
    Linear,
    PositionEmbed,
    RMSNorm,
    Rope,
    RopeTable,
    Scale,
    SelectExperts,
    SelectRows,
    Softcap,
)
from .plan import Buffer, KVLayer, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..gguf.reader import TensorInfo
    from .operations import Activation, ExpertWeighting, RopeStyle
    from .plan import Rows


class PlanBuilder:
    """Appends operations to a plan and checks that shapes fit while it does.

    Args:
        tensors: the model file's tensors by name; shapes in GGUF order (shape[0] = input size).
    """

    def __init__(self, tensors: Mapping[str, TensorInfo]) -> None:
        self._tensors = dict(tensors)
        self._plan = Plan()
        self._shared_kv_layers: dict[KVLayer, int] = {}
        self._n_experts: dict[str, int] = {}

    def has(self, weight: str) -> bool:
        """Whether the model file holds this tensor."""
        return weight in self._tensors

    def split_rows(self, weight: str, parts: Mapping[str, int]) -> None:
        """Names consecutive rows of a tensor as weights of their own; no byte is copied.

        Args:
            weight: a matrix, or a vector of which values count as rows.
            parts: each new name's number of rows, which must add up to the tensor's.
        """
        self._shape(weight)
        tensor = self._tensors.pop(weight)
        n_rows = tensor.shape[-1]
        if sum(parts.values()) != n_rows:
            raise ModelFormatError(
                f"tensor {weight!r} has {n_rows} rows, not the {sum(parts.values())} of "
                f"{', '.join(parts)}"
            )
        row_bytes, offset = tensor.nbytes // n_rows, tensor.offset
        for name, n in parts.items():
            self._tensors[name] = tensor._replace(
                name=name, shape=(*tensor.shape[:-1], n), offset=offset, nbytes=n * row_bytes
            )
            offset += n * row_bytes

    def embed(self, dst: str, weight: str, scale: float = 1.0) -> None:
        """Looks up each token's row."""
        n_in, _ = self._matrix(weight)
        self._declare(dst, n_in, "batch")
        self._plan.ops.append(Embed(dst, weight, scale))

    def position_embed(self, dst: str, weight: str) -> None:
        """Looks up each position's row."""
        n_in, _ = self._matrix(weight)
        self._declare(dst, n_in, "batch")
        self._plan.ops.append(PositionEmbed(dst, weight))

    def rms_norm(self, dst: str, src: str, weight: str, eps: float) -> None:
        """Normalizes rows, or heads where the weight is as long as one head."""
        group = self._vector(weight)
        width = self._width(src)
        if group == 0 or width % group:
            raise ModelFormatError(
                f"tensor {weight!r} has {group} values, which do not divide a row of {width}"
            )
        self._declare(dst, width, self._rows(src))
        self._plan.ops.append(RMSNorm(dst, src, weight, group, eps))

    def layer_norm(
        self, dst: str, src: str, weight: str, eps: float, bias: str | None = None
    ) -> None:
        """Normalizes rows, or heads where the weight's first dimension is as long as one head.

        A bias tensor is added where the file holds one of that name.
        """
        shape, width = self._shape(weight), self._width(src)
        n_values = math.prod(shape)
        if len(shape) > 2 or n_values == 0 or width % n_values:
            raise ModelFormatError(
                f"tensor {weight!r} has shape {shape}, which does not fit a row of {width}"
            )
        if bias is not None and not self.has(bias):
            bias = None
        if bias is not None and self._vector(bias) != n_values:
            raise ModelFormatError(
                f"tensor {bias!r} does not have the {n_values} values of {weight!r}"
            )
        self._declare(dst, width, self._rows(src))
        self._plan.ops.append(LayerNorm(dst, src, weight, bias, shape[0], eps))

    def linear(self, dst: str, src: str, weight: str, bias: str | None = None) -> None:
        """A matrix product; a bias tensor is added where the file holds one of that name."""
        n_in, n_out = self._matrix(weight)
        self._check_input(weight, n_in, src)
        if bias is not None and not self.has(bias):
            bias = None
        if bias is not None and self._vector(bias) != n_out:
            raise ModelFormatError(
                f"tensor {bias!r} does not have the {n_out} values of {weight!r}"
            )
        self._declare(dst, n_out, self._rows(src))
        self._plan.ops.append(Linear(dst, src, weight, bias))

    def dot(self, dst: str, src: str, weight: str) -> None:
        """A product with one row, which the file holds as a vector: one value a token."""
        n_in = self._vector(weight)
        self._check_input(weight, n_in, src)
        self._tensors[weight] = self._tensors[weight]._replace(shape=(n_in, 1))
        self._declare(dst, 1, self._rows(src))
        self._plan.ops.append(Linear(dst, src, weight, None))

    def rope_table(
        self,
        dst: str,
        inverse_frequencies: Sequence[float],
        magnitudes: Sequence[float] = (1.0,),
        run_length: int = 1,
    ) -> None:
        """Cosines and sines of the batch's positions, shared by all layers that use them."""
        self._declare(dst, 2 * len(inverse_frequencies), "batch")
        self._plan.ops.append(
            RopeTable(dst, tuple(inverse_frequencies), tuple(magnitudes), run_length)
        )

    def rope(self, buffer: str, table: str, head_dim: int, style: RopeStyle) -> None:
        """Rotates every head of a buffer by its token's position."""
        n_rot = self._width(table)
        if n_rot > head_dim or self._width(buffer) % head_dim:
            raise ModelFormatError(
                f"cannot rotate {n_rot} of {head_dim} values a head in rows of "
                f"{self._width(buffer)}"
            )
        self._plan.ops.append(Rope(buffer, table, head_dim, n_rot, style))

    def attention(
        self,
        dst: str,
        queries: str,
        keys: str,
        values: str,
        *,
        n_heads: int,
        n_kv_heads: int,
        scale: float,
        window: int = 0,
        softcap: float = 0.0,
        causal: bool = True,
    ) -> None:
        """Stores keys and values in a layer of the cache, then attends over it.

        All layers that are not causal use one layer of the cache: what such a layer stores is not
        needed after it, for its sequence must come in one batch.
        """
        k_dim, k_rest = divmod(self._width(keys), n_kv_heads)
        v_dim, v_rest = divmod(self._width(values), n_kv_heads)
        if k_rest or v_rest or self._width(queries) != n_heads * k_dim or n_heads % n_kv_heads:
            raise ModelFormatError(
                f"attention of {n_heads} query and {n_kv_heads} key heads does not fit rows of "
                f"{self._width(queries)}, {self._width(keys)} and {self._width(values)} values"
            )
        if window and not causal:
            raise ModelFormatError("attention with a window must be causal")
        layer = self._kv_layer(KVLayer(n_kv_heads, k_dim, v_dim), shared=not causal)
        self._declare(dst, n_heads * v_dim, self._rows(queries))
        self._plan.ops.append(KVStore(keys, values, layer))
        self._plan.ops.append(
            Attention(dst, queries, layer, n_heads, scale, window, softcap, causal)
        )

    def glu(self, dst: str, gate: str, up: str, activation: Activation) -> None:
        """A gated linear unit's product."""
        self._same_width(gate, up)
        self._declare(dst, self._width(gate), self._rows(gate))
        self._plan.ops.append(GLU(dst, gate, up, activation))

    def activate(self, dst: str, src: str, activation: Activation) -> None:
        """A function of each value."""
        self._declare(dst, self._width(src), self._rows(src))
        self._plan.ops.append(Activate(dst, src, activation))

    def scale(self, dst: str, src: str, factor: float) -> None:
        """Multiplies each value."""
        self._declare(dst, self._width(src), self._rows(src))
        self._plan.ops.append(Scale(dst, src, factor))

    def add(self, dst: str, a: str, b: str, scale: float = 1.0) -> None:
        """A sum a + scale * b, as of a residual connection."""
        self._same_width(a, b)
        self._declare(dst, self._width(a), self._rows(a))
        self._plan.ops.append(Add(dst, a, b, scale))

    def add_bias(self, dst: str, src: str, bias: str) -> None:
        """The same vector on every row."""
        if self._vector(bias) != self._width(src):
            raise ModelFormatError(f"tensor {bias!r} does not fit a row of {self._width(src)}")
        self._declare(dst, self._width(src), self._rows(src))
        self._plan.ops.append(AddBias(dst, src, bias))

    def select_rows(self, dst: str, src: str) -> None:
        """Drops the tokens whose logits nobody asked for."""
        self._declare(dst, self._width(src), "output")
        self._plan.ops.append(SelectRows(dst, src))

    def softcap(self, dst: str, src: str, cap: float) -> None:
        """Bounds values smoothly."""
        self._declare(dst, self._width(src), self._rows(src))
        self._plan.ops.append(Softcap(dst, src, cap))

    def select_experts(self, dst: str, src: str, n_used: int, weighting: ExpertWeighting) -> None:
        """Chooses each token's experts by their logits."""
        if not 0 < n_used <= self._width(src):
            raise ModelFormatError(f"a token cannot use {n_used} of {self._width(src)} experts")
        self._declare(dst, 2 * n_used, self._rows(src))
        self._n_experts[dst] = self._width(src)
        self._plan.ops.append(SelectExperts(dst, src, n_used, weighting))

    def expert_linear(self, dst: str, src: str, routes: str, weight: str) -> None:
        """Products with the matrices of each token's experts: rows of n_used results.

        The tensor is [n_experts, n_out, n_in]; `src` has n_in values, or those for each expert.
        """
        shape = self._tensors[weight].shape if self.has(weight) else self._shape(weight)
        n_experts, n_used = self._n_experts[routes], self._width(routes) // 2
        if len(shape) != 3 or shape[2] != n_experts:
            raise ModelFormatError(
                f"tensor {weight!r} has shape {shape}; it must hold a matrix for each of "
                f"{n_experts} experts"
            )
        if self._width(src) != n_used * shape[0]:
            self._check_input(weight, shape[0], src)
        self._declare(dst, n_used * shape[1], self._rows(src))
        self._plan.ops.append(ExpertLinear(dst, src, routes, weight, n_experts))

    def expert_sum(self, dst: str, src: str, routes: str) -> None:
        """Adds up the results of each token's experts by their weights."""
        n_used = self._width(routes) // 2
        self._declare(dst, self._width(src) // n_used, self._rows(src))
        self._plan.ops.append(ExpertSum(dst, src, routes))

    def build(self, output: str) -> Plan:
        """Ends the plan; `output` is the buffer of the logits.

        The input of the last matrix product, the output head, counts as the hidden states.
        """
        head = [op for op in self._plan.ops if isinstance(op, Linear)][-1]
        return self._end(output, head.src)

    def build_encoder(self, output: str) -> Plan:
        """Ends the plan of a model without output head; `output` is the buffer of hidden states."""
        return self._end(output, output)

    def _end(self, output: str, hidden: str) -> Plan:
        self._width(output)
        self._plan.output, self._plan.hidden = output, hidden
        writers = [n for n, op in enumerate(self._plan.ops, 1) if op.writes == hidden]
        self._plan.n_hidden_ops = writers[-1]
        names = dict.fromkeys(name for op in self._plan.ops for name in op.weights)
        self._plan.weights = {name: self._tensors[name] for name in names}
        return self._plan

    def _kv_layer(self, layer: KVLayer, *, shared: bool) -> int:
        if shared and layer in self._shared_kv_layers:
            return self._shared_kv_layers[layer]
        self._plan.kv_layers.append(layer)
        index = len(self._plan.kv_layers) - 1
        if shared:
            self._shared_kv_layers[layer] = index
        return index

    def _declare(self, name: str, width: int, rows: Rows) -> None:
        buffer = Buffer(width, rows)
        if self._plan.buffers.setdefault(name, buffer) != buffer:
            raise ModelFormatError(
                f"layers differ in size: {name!r} has {self._plan.buffers[name].width} values in "
                f"one layer and {width} in another"
            )

    def _check_input(self, weight: str, n_in: int, src: str) -> None:
        if n_in != self._width(src):
            raise ModelFormatError(
                f"tensor {weight!r} takes {n_in} inputs, but its input has {self._width(src)}"
            )

    def _matrix(self, weight: str) -> tuple[int, int]:
        shape = self._shape(weight)
        if len(shape) != 2:
            raise ModelFormatError(f"tensor {weight!r} has shape {shape}; it must be a matrix")
        return shape[0], shape[1]

    def _vector(self, weight: str) -> int:
        shape = self._shape(weight)
        if len(shape) != 1:
            raise ModelFormatError(f"tensor {weight!r} has shape {shape}; it must be a vector")
        return shape[0]

    def _shape(self, weight: str) -> tuple[int, ...]:
        if weight not in self._tensors:
            raise ModelFormatError(f"the file holds no tensor {weight!r}, which this model needs")
        shape = self._tensors[weight].shape
        while len(shape) > 1 and shape[-1] == 1:
            shape = shape[:-1]
        return shape

    def _width(self, buffer: str) -> int:
        return self._plan.buffers[buffer].width

    def _rows(self, buffer: str) -> Rows:
        return self._plan.buffers[buffer].rows

    def _same_width(self, a: str, b: str) -> None:
        if self._width(a) != self._width(b):
            raise ModelFormatError(
                f"{a!r} has {self._width(a)} values and {b!r} has {self._width(b)}; they must match"
            )
