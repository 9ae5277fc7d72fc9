"""The sampler chain: repetition penalty, top-k, top-p, min-p, temperature, a draw.

The order is llama.cpp's: the filters see probabilities before the temperature is applied. Only the
candidates that can survive ever leave the kernels; Python never walks the whole vocabulary.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import SamplerConfig
    from ..executors.base import Executor

# First guess of how many candidates a top-p or min-p cut keeps when there is no top-k.
_FIRST_CANDIDATES = 256


class Sampler:
    """Draws tokens as `config` says. One sampler an answer: it holds the random state."""

    def __init__(self, config: SamplerConfig, executor: Executor) -> None:
        self._config = config
        self._executor = executor
        self._random = random.Random(config.seed)

    def sample(self, logits: memoryview[float], recent: Sequence[int]) -> int:
        """The next token.

        Args:
            logits: float32 [vocabulary], changed in place by the repetition penalty.
            recent: tokens so far, oldest first.
        """
        config = self._config
        self._penalize(logits, recent)
        if config.temperature == 0.0:
            return self._executor.top_k(logits, 1)[0][0]
        if config.top_k == 0 and config.top_p == 1.0 and config.min_p == 0.0:
            return self._executor.sample(logits, config.temperature, self._random.random())
        ids, values = self._candidates(logits)
        largest = values[0]
        weights = [math.exp((value - largest) / config.temperature) for value in values]
        return ids[_draw(weights, self._random.random())]

    def _penalize(self, logits: memoryview[float], recent: Sequence[int]) -> None:
        penalty, window = self._config.repetition_penalty, self._config.repetition_penalty_window
        if penalty == 1.0 or window == 0:
            return
        for token in set(recent[-window:]):
            value = logits[token]
            logits[token] = value / penalty if value > 0.0 else value * penalty

    def _candidates(self, logits: memoryview[float]) -> tuple[list[int], list[float]]:
        """Tokens and logits that survive top-k, top-p and min-p, most probable first."""
        if self._config.top_k > 0:
            ids, values = self._executor.top_k(logits, self._config.top_k)
            total = sum(math.exp(value - values[0]) for value in values)
            keep = self._cut(values, total)
            return ids[: keep or len(ids)], values[: keep or len(values)]
        count = _FIRST_CANDIDATES
        log_total = self._executor.log_sum_exp(logits, 1.0)
        while True:
            ids, values = self._executor.top_k(logits, count)
            keep = self._cut(values, math.exp(log_total - values[0]))
            if keep is not None or len(ids) == len(logits):
                return ids[:keep], values[:keep]
            count *= 4

    def _cut(self, values: list[float], total: float) -> int | None:
        """How many of the descending logits top-p and min-p keep; None if the list is too short.

        Args:
            total: the sum of exp(value - values[0]) over all tokens that the filters see.
        """
        top_p, min_p = self._config.top_p, self._config.min_p
        largest, cumulative = values[0], 0.0
        for index, value in enumerate(values):
            weight = math.exp(value - largest)
            if weight < min_p and index > 0:
                return index
            cumulative += weight
            if top_p < 1.0 and cumulative >= top_p * total:
                return index + 1
        return None


def _draw(weights: list[float], uniform: float) -> int:
    """The first index whose cumulative share of the weights exceeds `uniform`, in [0, 1)."""
    target = uniform * sum(weights)
    cumulative = 0.0
    for index, weight in enumerate(weights):
        cumulative += weight
        if cumulative > target:
            return index
    return len(weights) - 1
