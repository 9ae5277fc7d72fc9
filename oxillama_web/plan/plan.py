"""A model's forward pass as data: a flat list of operations over named buffers.

An architecture writes a plan once, at load; a backend executes it for each batch of tokens.

    tokens ── Embed ──► x ── RMSNorm ──► h ── Linear ──► q, k, v ── Rope ... ──► logits

A buffer is a float32 array [rows, width]. Its rows are the tokens of the batch, or, after
`SelectRows`, the tokens whose logits were asked for. Writing to a name again reuses the memory.

What an operation is stands in its dataclass, a subclass of `Operation` in plan/operations/: the
types of its fields say which buffers, weights and numbers it takes, so that everything else, such
as lowering a plan for the kernels, works for all operations alike.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from ..gguf.reader import TensorInfo

Rows = Literal["batch", "output"]

# How threads divide a buffer: into how many parts, and whether those are heads or values.
Partition = tuple[Literal["heads", "values"], int]


class Role(Enum):
    """What a field of an operation is."""

    READ = auto()  # the name of a buffer that it reads
    WRITE = auto()  # the name of the buffer that it writes
    UPDATE = auto()  # the name of the buffer that it changes in place
    VECTOR = auto()  # the name of a weight whose values must be float32, or None
    MATRIX = auto()  # the name of a weight in any format
    CACHE_READ = auto()  # the number of a cache layer that it reads
    CACHE_WRITE = auto()  # the number of a cache layer that it writes
    STATE = auto()  # the number of a recurrent state that it reads and changes
    CONSTANT = auto()  # float32 values that belong to the plan, or none
    CHOICE = auto()  # one of several values
    INTEGER = auto()
    FLOAT = auto()


Read = Annotated[str, Role.READ]
Write = Annotated[str, Role.WRITE]
Update = Annotated[str, Role.UPDATE]
Vector = Annotated[str, Role.VECTOR]
OptionalVector = Annotated[str | None, Role.VECTOR]
Matrix = Annotated[str, Role.MATRIX]
OptionalMatrix = Annotated[str | None, Role.MATRIX]
CacheRead = Annotated[int, Role.CACHE_READ]
CacheWrite = Annotated[int, Role.CACHE_WRITE]
State = Annotated[int, Role.STATE]
Constant = Annotated[tuple[float, ...], Role.CONSTANT]


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a plan. It has one field that it writes: a buffer, or a layer of the cache.

    It may have a recurrent state too. That is its own, and its threads always divide it in the same
    way, so that no barrier is needed for it.

    Attributes:
        kind: its number in the kernels' table, kernels_c/ops/ops.h.
        replicable: whether a thread computes all of it for one token as quickly as it would wait
            for others to do their parts.
    """

    kind: ClassVar[int]
    replicable: ClassVar[bool] = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The buffers that it reads; layer N of the cache counts as one named `kv.N`."""
        return self._named("reads")

    @property
    def writes(self) -> str:
        """The buffer, or layer of the cache, that it writes."""
        return self._named("writes")[0]

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights that it reads."""
        return self._named("weights")

    @property
    def vectors(self) -> tuple[str, ...]:
        """Those of its weights that must be float32."""
        return self._named("vectors")

    def partition(self, name: str, plan: "Plan") -> Partition | None:
        """How the kernels divide a buffer that it reads or writes between threads.

        Returns:
            None if each thread may touch any part of it.
        """
        return None

    def prepared_by(self, plan: "Plan") -> "Operation | None":
        """The operation that has to prepare an input of this one for the kernels, if any.

        It reads what this operation reads, and writes `PREPARED`.
        """
        return None

    def _named(self, use: "_Use") -> tuple[str, ...]:
        names = []
        for name, is_layer in _fields(type(self), use):
            value = getattr(self, name)
            if value is not None:
                names.append(f"kv.{value}" if is_layer else value)
        return tuple(names)


# What an operation that prepares an input writes instead of a buffer: memory of the kernels' own.
PREPARED = "prepared input"


class Operand(NamedTuple):
    """A field of an operation; `choices` are the values that a `Role.CHOICE` may have."""

    name: str
    role: Role
    choices: tuple[object, ...] = ()


def operands(operation: type[Operation]) -> tuple[Operand, ...]:
    """An operation's fields, in the order in which they are declared."""
    if operation not in _OPERANDS:
        fields = dataclasses.fields(operation)
        _OPERANDS[operation] = tuple(_operand(field.name, field.type) for field in fields)
    return _OPERANDS[operation]


_Use = Literal["reads", "writes", "weights", "vectors"]
_ROLES: dict[_Use, tuple[Role, ...]] = {
    "reads": (Role.READ, Role.UPDATE, Role.CACHE_READ),
    "writes": (Role.WRITE, Role.UPDATE, Role.CACHE_WRITE),
    "weights": (Role.VECTOR, Role.MATRIX),
    "vectors": (Role.VECTOR,),
}


def _fields(operation: type[Operation], use: _Use) -> tuple[tuple[str, bool], ...]:
    """The fields of a use, and whether each is the number of a layer of the cache."""
    key = operation, use
    if key not in _FIELDS:
        layers = (Role.CACHE_READ, Role.CACHE_WRITE)
        used = [o for o in operands(operation) if o.role in _ROLES[use]]
        _FIELDS[key] = tuple((o.name, o.role in layers) for o in used)
    return _FIELDS[key]


# A plan has hundreds of operations of a dozen kinds, and a page waits until they are lowered: what
# follows from the kind alone is found once.
_OPERANDS: dict[type[Operation], tuple[Operand, ...]] = {}
_FIELDS: dict[tuple[type[Operation], _Use], tuple[tuple[str, bool], ...]] = {}


def _operand(name: str, kind: Any) -> Operand:
    for role in getattr(kind, "__metadata__", ()):
        return Operand(name, role)
    if kind is bool:
        return Operand(name, Role.CHOICE, (False, True))
    if kind in (int, float):
        return Operand(name, Role.INTEGER if kind is int else Role.FLOAT)
    return Operand(name, Role.CHOICE, get_args(kind))


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named activation, float32 [rows, width].

    Attributes:
        memory: the buffer whose memory it uses; "": its own.
    """

    width: int
    rows: Rows
    memory: str = ""


@dataclass(frozen=True, slots=True)
class KVLayer:
    """One layer's part of the cache: keys [n_heads, k_dim] and values [n_heads, v_dim] a token."""

    n_heads: int
    k_dim: int
    v_dim: int


@dataclass(frozen=True, slots=True)
class StateLayer:
    """One recurrent layer's state in the cache: float32 [rows, width], zero at first."""

    rows: int
    width: int


@dataclass(slots=True)
class Plan:
    """What a backend executes.

    Attributes:
        ops: the operations, in order.
        buffers: every buffer, in the order of its first use.
        kv_layers: the layers of the cache.
        states: the recurrent states of the cache.
        weights: where in the file each weight is; a weight may be some rows of a tensor.
        output: the buffer that holds the logits, or a reranker's scores.
        hidden: the buffer of the hidden states, which the output head takes. A model without an
            output head ends with them: its `output` is its `hidden`.
        n_hidden_ops: how many operations compute the hidden states; they come first.
        is_encoder: whether tokens may see those after them, so that a pass takes a whole text.
        is_reranker: whether the output are scores of a text that joins a query and a document.
    """

    ops: list[Operation] = field(default_factory=list)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    kv_layers: list[KVLayer] = field(default_factory=list)
    states: list[StateLayer] = field(default_factory=list)
    weights: "dict[str, TensorInfo]" = field(default_factory=dict)
    output: str = ""
    hidden: str = ""
    n_hidden_ops: int = 0
    is_encoder: bool = False
    is_reranker: bool = False

    def memory(self, name: str) -> str:
        """Return the buffer whose memory a buffer uses; anything else has its own."""
        buffer = self.buffers.get(name)
        return name if buffer is None else buffer.memory or name
