"""LoRA adapters: low-rank changes of a model's weights, applied beside them and never merged.

W x becomes W x + scale * alpha / rank * B (A x). Hu et al. 2021, https://arxiv.org/abs/2106.09685.
The files are llama.cpp's: a GGUF file of type "adapter" that holds, for a weight W [n_out, n_in],
the tensors `W.lora_a` [rank, n_in] and `W.lora_b` [n_out, rank] (rows first). For the token
embedding `lora_a` is stored transposed, [n_vocab, rank]: one row a token. Where the embedding is
the output head too, `output.weight` changes the head and `token_embd.weight` the embedding alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ModelFormatError, UnsupportedModelError
from ..gguf.files import require_file
from ..gguf.reader import GGUFFile
from ..validation import buffer, file_path, instance, number, require, tuple_of
from .operations.elementwise import Add
from .operations.embedding import Embed
from .operations.linear import Linear
from .plan import Buffer, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import ModelConfig
    from ..gguf.reader import Buffer as Bytes
    from ..gguf.reader import TensorInfo
    from .plan import Operation

_A, _B = ".lora_a", ".lora_b"
_EMBEDDING, _OUTPUT_HEAD = "token_embd.weight", "output.weight"
# Tensors that some tools copy from the base model; llama.cpp does not apply norms either.
_NOT_APPLIED = ("_norm.weight", "rope_freqs.weight")


class LoraAdapter:
    """An adapter file. It belongs to one architecture, and to weights of certain sizes.

    Attributes:
        name: what the file calls it.
        architecture: of the models that it was made for.
        alpha: what scales the change, divided by each pair's rank; 0: nothing does.
        weights: the names of the weights that it changes.
    """

    def __init__(self, data: Bytes) -> None:
        """Reads a file that is in memory; `data` is kept, and must not change.

        Raises:
            ModelFormatError: the file is broken.
            UnsupportedModelError: it is another kind of file.
        """
        gguf = GGUFFile(buffer("data", data))
        kind = gguf.get_str("general.type", "model")
        if kind != "adapter":
            raise UnsupportedModelError(f"this GGUF file holds a {kind}, not an adapter")
        kind = gguf.get_str("adapter.type")
        if kind != "lora":
            raise UnsupportedModelError(f"adapters of type {kind!r} are not supported; lora is")
        self._gguf = gguf
        self.architecture = gguf.get_str("general.architecture")
        self.name = gguf.get_str("general.name", "adapter")
        self.alpha = gguf.get_float("adapter.lora.alpha", 0.0)
        self._pairs = _read_pairs(gguf.tensors)
        self.weights = tuple(self._pairs)

    @classmethod
    def open(cls, path: str | Path) -> LoraAdapter:
        """Reads a file, as the constructor does."""
        return cls(require_file(Path(file_path("adapter", path))).read_bytes())

    def rank(self, weight: str) -> int:
        """The rank of the change of one weight."""
        return self._pairs[weight].rank

    def scale(self, weight: str, scale: float) -> float:
        """What multiplies B (A x) when the adapter is applied with `scale`."""
        return scale * self.alpha / self.rank(weight) if self.alpha else scale

    def pair(self, weight: str) -> LoraPair:
        """The two tensors that change one weight."""
        return self._pairs[weight]

    def data(self, tensor: TensorInfo) -> memoryview:
        """The raw bytes of one of the adapter's tensors."""
        return self._gguf.data_of(tensor)


class LoraPair(NamedTuple):
    """The tensors of one weight's change; shapes in ggml's order."""

    a: TensorInfo
    b: TensorInfo

    @property
    def rank(self) -> int:
        return self.b.shape[0]


class AppliedLora(NamedTuple):
    """An adapter on a model's stack; a scale of 1 applies it as it was trained."""

    adapter: LoraAdapter
    scale: float = 1.0


def _pair(name: str, value: Any) -> Any:
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    require(is_pair, name, value, "a list of adapters, each with its scale")
    return value


_PAIRS = tuple_of(_pair, "a list of adapters, each with its scale")
checked_stack = tuple_of(instance(AppliedLora, "an AppliedLora"), "a list of AppliedLora")
_SCALE = number(-1e6, 1e6)


def open_adapters(
    adapters: Sequence[tuple[LoraAdapter | str | Path, float]],
) -> list[AppliedLora]:
    """Open those adapters that are given as files.

    Raises:
        ModelFormatError, UnsupportedModelError: a file is broken, or of another kind.
        InvalidRequestError: a scale is not a number, or too large.
        OSError: a file cannot be read.
    """
    return [
        AppliedLora(
            adapter if isinstance(adapter, LoraAdapter) else LoraAdapter.open(adapter),
            _SCALE("scale", scale),
        )
        for adapter, scale in _PAIRS("adapters", adapters)
    ]


def apply_loras(
    plan: Plan,
    config: ModelConfig,
    tensors: Mapping[str, TensorInfo],
    stack: Sequence[AppliedLora],
) -> tuple[Plan, dict[str, LoraAdapter]]:
    """A plan with the stack's changes added to it.

    Args:
        plan: the model's own plan, which stays as it is.
        config: the model's.
        tensors: the model file's tensors.
        stack: adapters with their scales; changes of the same weight add up.

    Returns:
        The new plan, and whose tensors those of its `weights` are that are not the model's.

    Raises:
        ModelFormatError: an adapter does not fit the model's weights.
        UnsupportedModelError: it changes a weight that cannot be changed so.
    """
    for adapter, scale in checked_stack("stack", stack):
        _SCALE("scale", scale)
        if adapter.architecture != config.architecture:
            raise UnsupportedModelError(
                f"the adapter {adapter.name!r} is for {adapter.architecture} models; this one is "
                f"of {config.architecture}"
            )
        _check_weights(adapter, plan, tensors)
    writer = _Writer(plan, tensors, stack)
    for index, op in enumerate(plan.ops, 1):
        writer.take(op)
        if index == plan.n_hidden_ops:
            writer.end_hidden()
    return writer.finish()


class _Writer:
    """Copies a plan and puts changes after the operations whose weights they change."""

    def __init__(
        self, plan: Plan, tensors: Mapping[str, TensorInfo], stack: Sequence[AppliedLora]
    ) -> None:
        self._stack = stack
        self._tensors = tensors
        self._plan = Plan(
            buffers=dict(plan.buffers),
            kv_layers=plan.kv_layers,
            states=plan.states,
            weights=dict(plan.weights),
            output=plan.output,
            hidden=plan.hidden,
            is_encoder=plan.is_encoder,
            is_reranker=plan.is_reranker,
        )
        self._adapters: dict[str, LoraAdapter] = {}

    def take(self, op: Operation) -> None:
        self._plan.ops.append(op)
        if isinstance(op, Linear):
            self._change_linear(op)
        elif isinstance(op, Embed):
            self._change_embedding(op)

    def end_hidden(self) -> None:
        """The output head comes next, or nothing."""
        self._plan.n_hidden_ops = len(self._plan.ops)

    def finish(self) -> tuple[Plan, dict[str, LoraAdapter]]:
        # buffers are numbered in the order of their first use
        written = dict.fromkeys(op.writes for op in self._plan.ops)
        buffers = self._plan.buffers
        self._plan.buffers = {name: buffers[name] for name in written if name in buffers}
        return self._plan, self._adapters

    def _change_linear(self, op: Linear) -> None:
        for low, change in self._changes(op, like=op.src):
            self._plan.ops.append(Linear(low, op.src, change.a, None))
            self._add_change(op.dst, low, change)

    def _change_embedding(self, op: Embed) -> None:
        for low, change in self._changes(op, like=op.dst):
            self._plan.ops.append(Embed(low, change.a, op.scale))
            self._add_change(op.dst, low, change)

    def _changes(self, op: Linear | Embed, *, like: str) -> Iterator[tuple[str, _Change]]:
        """The stack's changes of a weight, each with a buffer for its low-rank product."""
        part = _find_part(self._plan.weights[op.weight], self._tensors)
        target = _target(op, self._plan, self._tensors)
        rows = self._plan.buffers[like].rows
        for index, (adapter, scale) in enumerate(self._stack):
            if target not in adapter.weights:
                continue
            rank = adapter.rank(target)
            low = f"lora.low.{rank}.{rows}"
            self._plan.buffers[low] = Buffer(rank, rows)
            a, b = adapter.pair(target)
            if part.n_rows != self._tensors[part.tensor].shape[-1]:
                row_bytes = b.nbytes // b.shape[1]
                b = b._replace(
                    name=f"{b.name}[{part.first_row}:]",
                    shape=(rank, part.n_rows),
                    offset=b.offset + part.first_row * row_bytes,
                    nbytes=part.n_rows * row_bytes,
                )
            change = _Change(
                f"lora.{index}:{a.name}",
                f"lora.{index}:{b.name}",
                adapter.scale(target, scale),
            )
            for name, info in ((change.a, a), (change.b, b)):
                self._plan.weights[name] = info
                self._adapters[name] = adapter
            yield low, change

    def _add_change(self, dst: str, low: str, change: _Change) -> None:
        """dst += scale * b @ low."""
        buffer = replace(self._plan.buffers[dst], memory="")
        product = f"lora.change.{buffer.width}.{buffer.rows}"
        self._plan.buffers[product] = buffer
        self._plan.ops += [
            Linear(product, low, change.b, None),
            Add(dst, dst, product, change.scale),
        ]


class _Change(NamedTuple):
    """The names of two weights, and what multiplies their product."""

    a: str
    b: str
    scale: float


class _Part(NamedTuple):
    """Rows of a tensor of the model file: a plan may split merged tensors."""

    tensor: str
    first_row: int
    n_rows: int


def _find_part(weight: TensorInfo, tensors: Mapping[str, TensorInfo]) -> _Part:
    whole = tensors.get(weight.name)
    if whole is None:
        whole = next(t for t in tensors.values() if 0 <= weight.offset - t.offset < t.nbytes)
    row_bytes = whole.nbytes // whole.shape[-1]
    return _Part(whole.name, (weight.offset - whole.offset) // row_bytes, weight.shape[-1])


def _read_pairs(tensors: Mapping[str, TensorInfo]) -> dict[str, LoraPair]:
    names = [name for name in tensors if not name.endswith(_NOT_APPLIED)]
    for name in names:
        if not name.endswith((_A, _B)):
            raise UnsupportedModelError(
                f"the adapter's tensor {name!r} is not a {_A[1:]} or {_B[1:]} of some weight"
            )
    weights = dict.fromkeys(name.removesuffix(_A).removesuffix(_B) for name in names)
    if not weights:
        raise ModelFormatError("the adapter changes no weights")
    pairs = {}
    for weight in weights:
        if weight + _A not in tensors or weight + _B not in tensors:
            raise ModelFormatError(f"the adapter holds only one of the two tensors for {weight!r}")
        pairs[weight] = LoraPair(tensors[weight + _A], tensors[weight + _B])
    return pairs


def _check_weights(adapter: LoraAdapter, plan: Plan, tensors: Mapping[str, TensorInfo]) -> None:
    targets: dict[str, tuple[tuple[int, ...], bool]] = {}
    for op in plan.ops:
        if isinstance(op, (Linear, Embed)):
            name = _target(op, plan, tensors)
            weight = plan.weights[op.weight]
            shape = tensors[name].shape if name in tensors else weight.shape
            targets[name] = (shape, isinstance(op, Embed))
    for name in adapter.weights:
        if name not in targets:
            raise ModelFormatError(
                f"the adapter changes {name!r}, which this model "
                + ("does not multiply by" if name in tensors else "does not have")
            )
        shape, is_embedding = targets[name]
        a, b = adapter.pair(name)
        rank, n_in, n_out = b.shape[0], shape[0], shape[-1]
        wanted = ((rank, n_out), (rank, n_in)) if is_embedding else (
            (n_in, rank), (rank, n_out)
        )  # fmt: skip
        if (a.shape, b.shape) != wanted:
            raise ModelFormatError(
                f"the adapter's tensors for {name!r} have shapes {a.shape} and {b.shape}; "
                f"{wanted[0]} and {wanted[1]} would fit the model"
            )


def _target(op: Linear | Embed, plan: Plan, tensors: Mapping[str, TensorInfo]) -> str:
    """Return what adapters call the weight of an operation: the tensor that it is a part of.

    The embedding is the output head, too, where a file has no other. An adapter changes each of the
    two by a name of its own, as it does in training.
    """
    name = _find_part(plan.weights[op.weight], tensors).tensor
    is_head = isinstance(op, Linear) and op.dst == plan.output and name == _EMBEDDING
    return _OUTPUT_HEAD if is_head else name
