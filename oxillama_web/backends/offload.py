"""How the weights of a model file are held in memory."""

from __future__ import annotations

from _thread import allocate_lock
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InvalidRequestError, UnsupportedModelError
from ..validation import MAX_INT64, boolean, check_settings, choice, instance, integer, setting
from .forking import renew_after_fork

PolicyKind = Literal["none", "mmap", "budget", "pinned_hot_set"]

_RAM_BYTES = integer(1, MAX_INT64)

# Segments of weights that fit into a budget.
_SEGMENTS_IN_BUDGET = 8


@dataclass(frozen=True, slots=True)
class OffloadPolicy:
    """How much of the weights to hold. Make one with a class method.

    Attributes:
        kind: which method made it.
        ram_bytes: the most bytes of weights to hold at a time ("budget", "pinned_hot_set").
        pin_embeddings: keep the whole token embedding, instead of reading the rows of each prompt.
        pin_output_head: keep the output head.
        pin_last_n_layers: keep so many of the last layers.
        prefetch_n_ahead: prefetch so many segments while others are computed.
    """

    kind: PolicyKind = setting("none", choice(*get_args(PolicyKind)))
    ram_bytes: int = setting(0, integer(0, MAX_INT64))
    pin_embeddings: bool = setting(False, boolean)
    pin_output_head: bool = setting(False, boolean)
    pin_last_n_layers: int = setting(0, integer(0))
    prefetch_n_ahead: int = setting(1, integer(0))

    def __post_init__(self) -> None:
        check_settings(self)

    @classmethod
    def none(cls) -> OffloadPolicy:
        """Read the whole file into memory at load."""
        return cls("none")

    @classmethod
    def mmap(cls) -> OffloadPolicy:
        """Map the file (the default). Its pages are read when a weight is first touched."""
        return cls("mmap")

    @classmethod
    def budget(cls, ram_bytes: int) -> OffloadPolicy:
        """Hold at most so many bytes of weights, and read the others whenever they are needed.

        The first layers stay in memory, as many as fit. The output is the same as without a budget.
        """
        return cls("budget", _RAM_BYTES("ram_bytes", ram_bytes))

    @classmethod
    def pinned_hot_set(
        cls,
        ram_bytes: int,
        pin_embeddings: bool = False,
        pin_output_head: bool = True,
        pin_last_n_layers: int = 0,
        prefetch_n_ahead: int = 1,
    ) -> OffloadPolicy:
        """As `budget`, with a choice of what stays in memory before the first layers do.

        Raises:
            InvalidRequestError: a number is negative, or `ram_bytes` is 0.
        """
        return cls(
            "pinned_hot_set",
            _RAM_BYTES("ram_bytes", ram_bytes),
            pin_embeddings,
            pin_output_head,
            pin_last_n_layers,
            prefetch_n_ahead,
        )

    @property
    def has_budget(self) -> bool:
        """Whether weights are read again for each pass."""
        return self.ram_bytes > 0

    @property
    def segment_bytes(self) -> int:
        """Bytes of weights that are read at a time, if an operation does not need more."""
        return self.ram_bytes // _SEGMENTS_IN_BUDGET


_POLICY = instance(OffloadPolicy, "an OffloadPolicy")


class LayerPager:
    """Holds the weights of a model within a budget; see `InferenceEngine.set_layer_pager`.

    A plan is cut into segments, each with the weights of some operations. Pinned ones stay in
    memory. The others are loaded in turn, and evicted once they are computed.

    Attributes:
        policy: has the budget.
        resident_bytes: bytes of the weights that are in memory now.
        peak_bytes: the most of them that were in memory at a time.
        bytes_read: bytes that were read from the file since the model was loaded.
        n_pinned: segments that stay in memory.
        n_segments: all segments.
    """

    def __init__(self, policy: OffloadPolicy) -> None:
        """Make a pager; raise InvalidRequestError if the policy has no budget."""
        policy = _POLICY("policy", policy)
        if not policy.has_budget:
            raise InvalidRequestError("a layer pager needs a policy with a budget")
        self.policy = policy
        self._lock = allocate_lock()  # one thread computes, another one prefetches
        self.reset()
        renew_after_fork(self)

    def renew_after_fork(self) -> None:
        """See `forking`."""
        self._lock = allocate_lock()

    def reset(self) -> None:
        """Begin counting anew, for another model."""
        self.resident_bytes = 0
        self.peak_bytes = 0
        self.bytes_read = 0
        self.n_pinned = 0
        self.n_segments = 0

    def count(self, n_bytes: int) -> None:
        """Count bytes of weights that were read into memory, or (negative) were evicted."""
        with self._lock:
            self.resident_bytes += n_bytes
            self.peak_bytes = max(self.peak_bytes, self.resident_bytes)
            self.bytes_read += max(n_bytes, 0)


def loaded_whole() -> InvalidRequestError:
    """Return the error of giving a pager to a model without a budget."""
    return InvalidRequestError(
        "the model is in memory as a whole; load it with OffloadPolicy.budget(...) first"
    )


def no_adapters() -> UnsupportedModelError:
    """Return the error of applying adapters to a model with a budget."""
    return UnsupportedModelError(
        "LoRA adapters cannot be applied to a model with a memory budget; load it without one"
    )
