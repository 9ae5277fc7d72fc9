"""A few bytes of every weight, which tell apart two models of the same shape.

Training changes all of a matrix, so one place in it is enough. Each read costs a page some 10 us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .reader import TensorInfo
    from .source import ModelSource

_SAMPLE_BYTES = 256


class WeightSamples:
    """Bytes from the middle of each weight, as they are in the file.

    Packing rearranges weights where they are, so `take` comes before it.
    """

    def __init__(self, weights: Mapping[str, TensorInfo], source: ModelSource) -> None:
        self._weights = weights
        self._samples: dict[str, bytes] = {}
        # the next one to sample is the last
        self._left = sorted(weights, key=lambda name: _end(weights[name]), reverse=True)
        self._source: ModelSource | None = source

    def take(self, n_received: int) -> None:
        """Sample the weights that are complete in the model's first bytes."""
        while self._left and self._source and _end(self._weights[self._left[-1]]) <= n_received:
            name = self._left.pop()
            info = self._weights[name]
            n_bytes = min(info.nbytes, _SAMPLE_BYTES)
            start = info.offset + (info.nbytes - n_bytes) // 2
            self._samples[name] = bytes(self._source.read(start, n_bytes))
        if not self._left:
            self._source = None  # its bytes may take memory

    def values(self) -> list[bytes]:
        """Return the samples of all weights, in their order."""
        if self._source is not None:
            self.take(self._source.n_bytes)
        return [self._samples[name] for name in self._weights]


def _end(info: TensorInfo) -> int:
    return info.offset + info.nbytes
