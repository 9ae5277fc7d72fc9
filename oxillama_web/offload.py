"""How a model file's weights are held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class OffloadPolicy:
    """Build one with :meth:`none` or :meth:`mmap`."""

    kind: Literal["none", "mmap"]

    @classmethod
    def none(cls) -> OffloadPolicy:
        """Read the whole file into memory at load."""
        return cls("none")

    @classmethod
    def mmap(cls) -> OffloadPolicy:
        """Map the file; pages are read when a weight is first touched (the default)."""
        return cls("mmap")
