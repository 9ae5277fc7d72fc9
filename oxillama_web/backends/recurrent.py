"""The recurrent states of a sequence, and checkpoints of them.

Keys and values can be cut at any position. A recurrent state cannot: it holds everything that came
before in a fixed size. So copies of it are kept, and a sequence goes back to one of those.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from ..plan.plan import Plan

# Bytes of a sequence's checkpoints. The oldest ones are dropped, but the latest two stay.
CHECKPOINT_BYTES = 128 << 20
_MIN_CHECKPOINTS = 2
# How many of the latest ones a snapshot holds: those of the last message and the last prompt.
_EXPORTED_CHECKPOINTS = 2
# Bytes. The kernels ask for it.
_ALIGNMENT = 64


class StateBlock(Protocol):
    """Zeroed memory of a backend for the states of a sequence."""

    @property
    def address(self) -> int:
        """Of the first byte, for the kernels of the backend."""

    @property
    def n_bytes(self) -> int:
        """Its size."""

    def floats(self, offset: int, count: int) -> memoryview[float]:
        """Return float32 values."""

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return a copy of a part."""

    def write(self, offset: int, data: Any) -> None:
        """Copy bytes into it."""

    def copy(self, source: Any) -> None:
        """Copy the content of another block of the same size into it."""


class StateLayout:
    """Where the states of a plan's layers are in a block: one after the other.

    Attributes:
        layers: the plan's states.
        offsets: where each begins, in bytes.
        n_bytes: of all of them; 0 in a model without recurrent layers.
    """

    def __init__(self, plan: Plan) -> None:
        self.layers = plan.states
        self.offsets: list[int] = []
        self.n_bytes = 0
        for layer in plan.states:
            self.offsets.append(self.n_bytes)
            size = 4 * layer.rows * layer.width
            self.n_bytes += -(-size // _ALIGNMENT) * _ALIGNMENT

    def __str__(self) -> str:
        """Return its name; see `SequenceCache.layout`."""
        return "states " + ",".join(f"{layer.rows}x{layer.width}" for layer in self.layers)


class StateMemory:
    """Allocates the states of all sequences of a model, and counts those that are held.

    Attributes:
        layout: of a block.
    """

    def __init__(self, layout: StateLayout, allocate: Callable[[int], StateBlock]) -> None:
        """Take zeroed memory from `allocate`, which is given a number of bytes."""
        self.layout = layout
        self._allocate = allocate
        self._held: WeakSet[StateBlock] = WeakSet()

    @property
    def held_bytes(self) -> int:
        """Bytes of the states and checkpoints of all sequences; shared ones count once."""
        return len(self._held) * self.layout.n_bytes

    def new_states(self) -> RecurrentStates | None:
        """Return those of a new sequence; None in a model without recurrent layers."""
        return RecurrentStates(self) if self.layout.layers else None

    def new(self) -> StateBlock:
        """Return the states before a text begins. Raises OutOfMemoryError."""
        block = self._allocate(self.layout.n_bytes)
        self._held.add(block)
        return block


class RecurrentStates:
    """The states of one sequence, and checkpoints of them at earlier positions.

    Attributes:
        layout: of `block`.
        block: the states now. A forward pass changes them in place.
        position: after how many tokens they are. None while a pass changes them, and when it was
            interrupted: then only the checkpoints are of use.
    """

    def __init__(self, memory: StateMemory) -> None:
        """Begin before the first token."""
        self.block = memory.new()
        self.position: int | None = 0
        self.layout = memory.layout
        self._memory = memory
        self._positions: list[int] = []  # of the checkpoints, ascending
        self._checkpoints: dict[int, StateBlock] = {}
        # a checkpoint that the next one replaces
        self._temporary: int | None = None

    def latest(self, position: int) -> int:
        """Return the latest position, up to this one, that `cut` can go back to."""
        if self.position is not None and self.position <= position:
            return self.position
        index = bisect_right(self._positions, position)
        return self._positions[index - 1] if index else 0

    def checkpoint(self, *, temporary: bool = False) -> None:
        """Keep a copy of the states as they are now.

        Args:
            temporary: the next checkpoint replaces it.

        Raises:
            OutOfMemoryError: there is no memory for it.
        """
        position = self.position
        if not position or position in self._checkpoints:
            if position == self._temporary and not temporary:
                self._temporary = None
            return
        spare = None if self._temporary is None else self._drop(self._temporary)
        block = spare or self._memory.new()
        block.copy(self.block)
        self._checkpoints[position] = block
        insort(self._positions, position)
        self._temporary = position if temporary else None
        n_kept = max(CHECKPOINT_BYTES // self.layout.n_bytes, _MIN_CHECKPOINTS)
        while len(self._positions) > n_kept:
            self._drop(self._positions[0])

    @property
    def last_checkpoint(self) -> int:
        """The position of the latest checkpoint that stays; 0 without one."""
        return max((p for p in self._positions if p != self._temporary), default=0)

    def cut(self, position: int) -> None:
        """Go back to a position that `latest` has returned, and drop the checkpoints after it."""
        if position != self.position:
            self.position = None
            if position:
                self.block.copy(self._checkpoints[position])
            else:
                self.block.write(0, bytes(self.block.n_bytes))
            self.position = position
        for later in self._positions[bisect_right(self._positions, position) :]:
            self._drop(later)

    def fork(self, position: int) -> RecurrentStates:
        """Return other states, at a position that `latest` has returned; checkpoints are shared."""
        other = RecurrentStates(self._memory)
        # a temporary one's memory may be written again
        kept = [p for p in self._positions if p <= position and p != self._temporary]
        other._positions = kept
        other._checkpoints = {p: self._checkpoints[p] for p in kept}
        if position:
            is_now = position == self.position
            other.block.copy(self.block if is_now else self._checkpoints[position])
        other.position = position
        return other

    def export(self) -> bytes:
        """Return the latest checkpoints and the states as they are now.

        The number of checkpoints, their positions (uint32, little-endian), their states, and the
        present ones.
        """
        kept = [p for p in self._positions if p != self._temporary][-_EXPORTED_CHECKPOINTS:]
        blocks = [*(self._checkpoints[position] for position in kept), self.block]
        header = b"".join(n.to_bytes(4, "little") for n in (len(kept), *kept))
        return b"".join([header, *(block.read(0, block.n_bytes) for block in blocks)])

    def restored(self, data: bytes, position: int) -> tuple[RecurrentStates, int]:
        """Return what `export` has written, and the number of its bytes; `data` may go on.

        Raises:
            InvalidRequestError: it does not fit.
        """
        n_bytes = self.layout.n_bytes
        n_kept = min(int.from_bytes(data[:4], "little"), _EXPORTED_CHECKPOINTS)
        places = range(4, 4 + 4 * n_kept, 4)
        positions = [int.from_bytes(data[place : place + 4], "little") for place in places]
        start = 4 + 4 * n_kept
        end = start + (n_kept + 1) * n_bytes
        is_ascending = sorted({0, *positions, position + 1}) == [0, *positions, position + 1]
        if len(data) < end or not is_ascending:
            raise InvalidRequestError(f"{len(data)} bytes are no cache of {position} tokens")
        states = RecurrentStates(self._memory)
        for at in (*positions, position):
            states.block.write(0, memoryview(data)[start : start + n_bytes])
            states.position = at
            start += n_bytes
            if start < end:
                states.checkpoint()
        return states, end

    def _drop(self, position: int) -> StateBlock:
        if position == self._temporary:
            self._temporary = None
        self._positions.remove(position)
        return self._checkpoints.pop(position)
