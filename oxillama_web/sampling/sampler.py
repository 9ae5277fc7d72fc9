"""The sampler chain: the stages of SamplerConfig in order, and a draw.

Filters see the probabilities that the stages before have left. Only candidates that can survive
ever leave the kernels.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from . import filters, penalties
from .candidates import Candidates

if TYPE_CHECKING:
    from ..executors.base import Executor
    from .config import SamplerConfig


class Sampler:
    """Draws tokens as `config` says. One sampler an answer: it holds the random state.

    Args:
        token_text: a token's text, for `dry_sequence_breakers`.
    """

    def __init__(
        self,
        config: SamplerConfig,
        executor: Executor,
        token_text: Callable[[int], str] = lambda token: "",
    ) -> None:
        self._config = config
        self._executor = executor
        self._random = random.Random(config.seed)
        self._token_text = token_text
        self._breaks: dict[int, bool] = {}
        self._mirostat = None
        if config.mirostat:
            from .mirostat import Mirostat

            self._mirostat = Mirostat(config)

    def sample(self, logits: memoryview[float], recent: Sequence[int]) -> int:
        """The next token.

        Args:
            logits: float32 [vocabulary], changed in place by biases and penalties.
            recent: tokens so far, oldest first.
        """
        self._change(logits, recent)
        if self._config.temperature == 0.0 and self._config.dynatemp_range == 0.0:
            return self._executor.top_k(logits, 1)[0][0]
        candidates = self._filter(Candidates(logits, self._executor))
        uniform = self._random.random()
        if self._mirostat is not None:
            return self._mirostat.draw(candidates, uniform)
        return candidates.draw(uniform)

    def _change(self, logits: memoryview[float], recent: Sequence[int]) -> None:
        """The stages that change logits."""
        config = self._config
        penalties.bias(logits, config)
        for stage in config.stages:
            if stage == "penalties":
                penalties.penalize(logits, recent, config)
            elif stage == "dry":
                penalties.penalize_repetitions(logits, recent, config, self._is_breaker)

    def _filter(self, candidates: Candidates) -> Candidates:
        """The stages that drop tokens, and the temperature."""
        for stage in self._config.stages:
            if stage == "temperature":
                self._temper(candidates)
            elif self._mirostat is not None:
                continue
            elif stage == "xtc":
                self._exclude_top_choices(candidates)
            elif stage in _FILTERS:
                _FILTERS[stage](candidates, getattr(self._config, stage))
        return candidates

    def _temper(self, candidates: Candidates) -> None:
        config = self._config
        temperature = config.temperature
        if config.dynatemp_range > 0.0:
            lowest = max(0.0, temperature - config.dynatemp_range)
            highest = temperature + config.dynatemp_range
            most = math.log(len(candidates))
            share = min(candidates.entropy / most, 1.0) if most > 0.0 else 0.0
            temperature = lowest + (highest - lowest) * share**config.dynatemp_exponent
            # nothing is colder than choosing the most probable token
            temperature = max(temperature, 1e-4)
        if temperature != 1.0:
            candidates.divide(temperature)

    def _exclude_top_choices(self, candidates: Candidates) -> None:
        threshold, probability = self._config.xtc_threshold, self._config.xtc_probability
        if threshold > 0.0 and self._random.random() < probability:
            filters.exclude_top_choices(candidates, threshold)

    def _is_breaker(self, token: int) -> bool:
        if token not in self._breaks:
            text = self._token_text(token)
            self._breaks[token] = any(b in text for b in self._config.dry_sequence_breakers)
        return self._breaks[token]


_FILTERS: dict[str, Callable[[Candidates, float], None]] = {
    "top_k": lambda candidates, k: filters.top_k(candidates, int(k)),
    "top_p": filters.top_p,
    "min_p": filters.min_p,
    "typical_p": filters.typical_p,
    "top_a": filters.top_a,
    "epsilon_cutoff": filters.epsilon_cutoff,
    "eta_cutoff": filters.eta_cutoff,
}
