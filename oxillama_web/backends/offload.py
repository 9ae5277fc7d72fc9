"""How a model file's weights are held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class OffloadPolicy:
    """Build one with a class method.

    Attributes:
        kind: which method built it.
        ram_bytes: most bytes of weights that are in memory at a time ("budget", "pinned_hot_set").
        pin_embeddings: keep the whole token embedding instead of reading the rows of each prompt.
        pin_output_head: keep the output head.
        pin_last_n_layers: keep so many of the last layers.
        prefetch_n_ahead: read so many parts ahead while others are computed.
    """

    kind: Literal["none", "mmap", "budget", "pinned_hot_set"]
    ram_bytes: int = 0
    pin_embeddings: bool = False
    pin_output_head: bool = False
    pin_last_n_layers: int = 0
    prefetch_n_ahead: int = 1

    @classmethod
    def none(cls) -> OffloadPolicy:
        """Read the whole file into memory at load."""
        return cls("none")

    @classmethod
    def mmap(cls) -> OffloadPolicy:
        """Map the file; pages are read when a weight is first touched (the default)."""
        return cls("mmap")

    @classmethod
    def budget(cls, ram_bytes: int) -> OffloadPolicy:
        """Hold at most so many bytes of weights; the others are read when they are needed.

        The first layers stay in memory, as many as fit. Output is the same as without a budget.
        """
        return cls("budget", _positive(ram_bytes))

    @classmethod
    def pinned_hot_set(
        cls,
        ram_bytes: int,
        pin_embeddings: bool = False,
        pin_output_head: bool = True,
        pin_last_n_layers: int = 0,
        prefetch_n_ahead: int = 1,
    ) -> OffloadPolicy:
        """As `budget`, with a choice of what stays in memory; the rest of it goes to first layers.

        Raises:
            InvalidRequestError: a number is negative, or `ram_bytes` is 0.
        """
        if pin_last_n_layers < 0 or prefetch_n_ahead < 0:
            raise InvalidRequestError("pin_last_n_layers and prefetch_n_ahead must be 0 or more")
        return cls(
            "pinned_hot_set",
            _positive(ram_bytes),
            pin_embeddings,
            pin_output_head,
            pin_last_n_layers,
            prefetch_n_ahead,
        )

    @property
    def has_budget(self) -> bool:
        """Whether weights are read again and again."""
        return self.ram_bytes > 0


def _positive(ram_bytes: int) -> int:
    if ram_bytes < 1:
        raise InvalidRequestError(f"ram_bytes is {ram_bytes}; it must be 1 or more")
    return ram_bytes
