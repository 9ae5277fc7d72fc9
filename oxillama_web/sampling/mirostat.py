"""Mirostat: feedback keeps the surprisal of tokens near a target.

Basu et al. 2021, https://arxiv.org/abs/2007.14966.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .candidates import Candidates
    from .config import SamplerConfig

# Version 1 estimates the exponent of Zipf's law from this many tokens (the paper's m).
_N_ESTIMATED = 100


class Mirostat:
    """The state of one answer.

    Attributes:
        max_surprisal: the largest surprisal that is allowed, in bits (the paper's mu).
    """

    def __init__(self, config: SamplerConfig) -> None:
        self.max_surprisal = 2.0 * config.mirostat_tau
        self._version = config.mirostat
        self._target = config.mirostat_tau
        self._learning_rate = config.mirostat_eta

    def draw(self, candidates: Candidates, uniform: float) -> int:
        """Cut the candidates, draw a token, and adapt to its surprisal.

        Args:
            uniform: a random number in [0, 1).
        """
        if self._version == 1:
            candidates.top_k(self._zipf_k(candidates))
        else:
            candidates.threshold(2.0**-self.max_surprisal)
            candidates.expand(1)
        # without a cut the list is not complete yet
        if not candidates.complete:
            candidates.top_k(len(candidates))
        token = candidates.draw(uniform)
        value = candidates.values[candidates.ids.index(token)]
        surprisal = (candidates.log_total - value) / math.log(2.0)
        self.max_surprisal -= self._learning_rate * (surprisal - self._target)
        return token

    def _zipf_k(self, candidates: Candidates) -> int:
        """Return how many tokens have the allowed surprisal on average, by Zipf's law."""
        candidates.expand(_N_ESTIMATED)
        values = candidates.values[:_N_ESTIMATED]
        n = len(candidates)
        if n < 2 or len(values) < 2:
            return 1
        logs = [math.log((i + 2) / (i + 1)) for i in range(len(values) - 1)]
        ratios = [values[i] - values[i + 1] for i in range(len(values) - 1)]
        exponent = sum(t * b for t, b in zip(logs, ratios, strict=True))
        exponent /= sum(t * t for t in logs)
        epsilon = exponent - 1.0
        k = 2.0**self.max_surprisal
        try:
            if abs(epsilon) > 1e-6:
                k = epsilon * k / (1.0 - n**-epsilon)
            else:
                k /= math.log(n)
            k = math.exp(math.log(k) / exponent)
        except (OverflowError, ValueError, ZeroDivisionError):
            return n
        return max(1, min(n, round(min(k, n))))
