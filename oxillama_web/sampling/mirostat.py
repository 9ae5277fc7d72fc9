"""Mirostat: keeps the surprise of tokens near a target, by feedback.

Basu et al. 2021, https://arxiv.org/abs/2007.14966.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .candidates import Candidates
    from .config import SamplerConfig

# Tokens from which version 1 estimates the exponent of Zipf's law; the paper's m.
_ESTIMATED_FROM = 100


class Mirostat:
    """The state of one answer: the largest surprise that is allowed, in bits."""

    def __init__(self, config: SamplerConfig) -> None:
        self._version = config.mirostat
        self._target = config.mirostat_tau
        self._rate = config.mirostat_eta
        self._largest = 2.0 * config.mirostat_tau

    def draw(self, candidates: Candidates, uniform: float) -> int:
        """Cuts the candidates, draws a token, and learns from its surprise."""
        if self._version == 1:
            candidates.keep(self._count(candidates))
        else:
            candidates.keep_while_above(2.0**-self._largest)
            candidates.take(1)
        # what may be drawn is the list from here on
        if not candidates.complete:
            candidates.keep(len(candidates))
        token = candidates.draw(uniform)
        logit = candidates.values[candidates.ids.index(token)]
        surprise = (candidates.log_total - logit) / math.log(2.0)
        self._largest -= self._rate * (surprise - self._target)
        return token

    def _count(self, candidates: Candidates) -> int:
        """How many tokens have the target surprise on average, by Zipf's law."""
        candidates.take(_ESTIMATED_FROM)
        values = candidates.values[:_ESTIMATED_FROM]
        n = len(candidates)
        if n < 2 or len(values) < 2:
            return 1
        logs = [math.log((i + 2) / (i + 1)) for i in range(len(values) - 1)]
        ratios = [values[i] - values[i + 1] for i in range(len(values) - 1)]
        exponent = sum(t * b for t, b in zip(logs, ratios, strict=True))
        exponent /= sum(t * t for t in logs)
        epsilon = exponent - 1.0
        reach = 2.0**self._largest
        try:
            if abs(epsilon) > 1e-6:
                reach = epsilon * reach / (1.0 - n**-epsilon)
            else:
                reach /= math.log(n)
            count = math.exp(math.log(reach) / exponent)
        except (OverflowError, ValueError, ZeroDivisionError):
            return n
        return max(1, min(n, round(min(count, n))))
