"""A sequence's cache: keys and values of its tokens, and the states of recurrent layers.

The plan says which of them a model has. Keys and values are a backend's own; how they go together
with states that cannot be cut is written here, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from .recurrent import RecurrentStates


class KeysAndValues(Protocol):
    """The keys and values of one sequence. They can be cut at any position.

    Attributes:
        length: the number of tokens.
    """

    length: int

    def truncate(self, length: int) -> None:
        """Discard all tokens from position `length` on, and free their memory."""

    def fork(self, length: int) -> KeysAndValues:
        """Return another one with the first `length` tokens; neither changes the other."""

    @property
    def can_shift(self) -> bool:
        """Whether positions can move. They cannot if the model learned a vector for each."""

    def shift(self, start: int, count: int) -> None:
        """See `SequenceCache.shift`."""

    @property
    def layout(self) -> str:
        """See `SequenceCache.layout`."""

    def export(self) -> bytes:
        """Return the keys and values of all tokens."""

    def restore(self, data: bytes, length: int) -> None:
        """Replace the contents by what `length` tokens have exported.

        Raises:
            InvalidRequestError: the size is wrong. The contents are unchanged.
        """


class SequenceCache:
    """What a model remembers of one sequence; it grows with the sequence.

    A recurrent state cannot be cut at any position, so such a cache goes back to its latest
    checkpoint: `restorable` says where that is. The tokens after it have to be computed again.

    Attributes:
        keys: the keys and values; no layers in a model without attention.
        states: None in a model without recurrent layers.
    """

    def __init__(self, keys: KeysAndValues, states: RecurrentStates | None = None) -> None:
        self.keys = keys
        self.states = states

    @property
    def length(self) -> int:
        """The number of tokens in the cache.

        If a forward pass was interrupted while it changed the states, they go back to a checkpoint.
        """
        self._settle()
        return self.keys.length

    def begin_pass(self) -> None:
        """Say that the next forward pass changes the cache, until `end_pass`."""
        if self.states is not None:
            self.states.position = None

    def end_pass(self, n_tokens: int) -> None:
        """Say that a forward pass has appended so many tokens."""
        self.keys.length += n_tokens
        if self.states is not None:
            self.states.position = self.keys.length

    def restorable(self, length: int) -> int:
        """Return the latest position, up to `length`, that the cache can be cut to."""
        length = min(length, self.length)
        return length if self.states is None else self.states.latest(length)

    def checkpoint(self, *, temporary: bool = False) -> None:
        """Make the present length one that the cache can be cut to.

        Only recurrent states need that, and memory for it. The oldest checkpoints are dropped where
        there are too many.

        Args:
            temporary: the next checkpoint replaces it.
        """
        if self.states is not None and self.length:
            self.states.checkpoint(temporary=temporary)

    @property
    def n_since_checkpoint(self) -> int:
        """How many tokens would have to be computed again; 0 where any position is restorable."""
        return 0 if self.states is None else self.length - self.states.last_checkpoint

    def truncate(self, length: int) -> None:
        """Discard all tokens from position `length` on, and free their memory.

        Raises:
            InvalidRequestError: the cache has fewer tokens, or cannot be cut there.
        """
        self._check_cut(length)
        if self.states is None:
            self.keys.truncate(length)
        else:
            self._cut(self.states, length)

    def fork(self, length: int) -> SequenceCache:
        """Return another cache with the first `length` tokens; neither changes the other.

        Raises:
            InvalidRequestError: the cache has fewer tokens, or cannot be cut there.
        """
        self._check_cut(length)
        return SequenceCache(self.keys.fork(length), self.states and self.states.fork(length))

    @property
    def can_shift(self) -> bool:
        """Whether positions can move: not in learned positions, and not in recurrent states."""
        return self.states is None and self.keys.can_shift

    def shift(self, start: int, count: int) -> None:
        """Discard `count` positions from `start` on, and move those after them down.

        Keys are rotated to their new positions (a K-shift); values stay as they are. They were
        computed while the discarded tokens were visible, so a prefill of the tokens that are left
        would give other values.

        Raises:
            InvalidRequestError: the cache has fewer positions, or they cannot move.
            OutOfMemoryError: pages that are shared with a fork cannot be copied.
        """
        if start < 0 or count < 1 or start + count > self.length or not self.can_shift:
            raise InvalidRequestError(
                f"cannot take {count} positions from {start} on out of a cache of {self.length} "
                f"tokens"
            )
        self.keys.shift(start, count)

    @property
    def layout(self) -> str:
        """The name of the layout that `export` writes. Caches of one layout read each other's."""
        keys = self.keys.layout
        return keys if self.states is None else f"{self.states.layout} {keys}"

    def export(self) -> bytes:
        """Return all that a cache of the same layout needs to go on from here."""
        self._settle()
        keys = self.keys.export()
        return keys if self.states is None else self.states.export() + keys

    def restore(self, data: bytes, length: int) -> None:
        """Replace the contents by what a cache of `length` tokens has exported.

        Raises:
            InvalidRequestError: the size is wrong. The cache is unchanged.
        """
        if self.states is None:
            self.keys.restore(data, length)
            return
        states, n_bytes = self.states.restored(data, length)
        self.keys.restore(data[n_bytes:], length)
        self.states = states

    def _check_cut(self, length: int) -> None:
        if not 0 <= length <= self.length:
            raise InvalidRequestError(f"cannot cut a cache of {self.length} tokens to {length}")
        if self.restorable(length) != length:
            raise InvalidRequestError(
                f"a cache with recurrent states cannot be cut to {length} tokens, but to "
                f"{self.restorable(length)}: there is its latest checkpoint"
            )

    def _settle(self) -> None:
        """Take an interrupted pass back."""
        states = self.states
        if states is not None and states.position is None:
            self._cut(states, states.latest(self.keys.length))

    def _cut(self, states: RecurrentStates, length: int) -> None:
        states.cut(length)
        # as long as keys are longer, nothing is to take the states for those of all tokens
        states.position = None
        self.keys.truncate(length)
        states.position = length
