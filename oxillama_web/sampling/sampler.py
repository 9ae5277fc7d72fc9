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
    from ..backends.logits import LogitsOps
    from ..grammar import Constraint
    from .config import SamplerConfig

    # changes the logits in place, given the tokens so far
    Change = Callable[[memoryview[float], Sequence[int]], None]


class Sampler:
    """Draws tokens as `config` says. One sampler an answer: it holds the random state.

    Args:
        token_text: a token's text, for `dry_sequence_breakers`.
        constraint: keeps the answer within the config's grammar. Tokens that it does not allow
            are taken away before the filters, so what is drawn is exactly what the chain makes of
            the allowed ones.
    """

    def __init__(
        self,
        config: SamplerConfig,
        logits_ops: LogitsOps,
        token_text: Callable[[int], str] = lambda token: "",
        constraint: Constraint | None = None,
    ) -> None:
        self._config = config
        self._logits_ops = logits_ops
        self._random = random.Random(config.seed)
        self._token_text = token_text
        self._breaks: dict[int, bool] = {}
        self._constraint = constraint
        self._n_most = _n_most_needed(config)
        self._is_greedy = _is_greedy(config)
        self._changes = self._active_changes()
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
        candidates = Candidates(logits, self._logits_ops)
        if self._constraint is None:
            return self._choose(candidates)
        allowed = self._constraint.restrict(logits, self._n_most)
        if allowed is not None:
            candidates.replace(*allowed)
        token = self._choose(candidates)
        self._constraint.advance(token)
        return token

    def _choose(self, candidates: Candidates) -> int:
        if self._is_greedy:
            candidates.take(1)
            return candidates.ids[0]
        self._filter(candidates)
        uniform = self._random.random()
        if self._mirostat is not None:
            return self._mirostat.draw(candidates, uniform)
        return candidates.draw(uniform)

    def _change(self, logits: memoryview[float], recent: Sequence[int]) -> None:
        for change in self._changes:
            change(logits, recent)

    def _active_changes(self) -> list[Change]:
        """The stages that change logits, but for those that are switched off."""
        config = self._config
        changes: list[Change] = []
        if penalties.has_bias(config):
            changes.append(lambda logits, recent: penalties.bias(logits, config))
        for stage in config.stages:
            if stage == "penalties" and penalties.has_penalties(config):
                changes.append(lambda logits, recent: penalties.penalize(logits, recent, config))
            elif stage == "dry" and penalties.has_dry(config):
                changes.append(
                    lambda logits, recent: penalties.penalize_repetitions(
                        logits, recent, config, self._is_breaker
                    )
                )
        return changes

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


def _is_greedy(config: SamplerConfig) -> bool:
    return config.temperature == 0.0 and config.dynatemp_range == 0.0


def _n_most_needed(config: SamplerConfig) -> int | None:
    """So many of the most probable tokens decide what is drawn; None if it may be any number."""
    if _is_greedy(config):
        return 1
    if config.mirostat:
        return None
    for stage in config.stages:
        if stage == "top_k" and config.top_k > 0:
            return config.top_k
        if stage == "temperature" and config.dynatemp_range > 0.0:
            return None
        if stage in _WHERE_OFF and getattr(config, stage) != _WHERE_OFF[stage]:
            return None
        if stage == "xtc" and config.xtc_threshold > 0.0:
            return None
    return None


# the value with which a filter keeps everything
_WHERE_OFF = {
    "typical_p": 1.0,
    "top_p": 1.0,
    "min_p": 0.0,
    "top_a": 0.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}

_FILTERS: dict[str, Callable[[Candidates, float], None]] = {
    "top_k": lambda candidates, k: filters.top_k(candidates, int(k)),
    "top_p": filters.top_p,
    "min_p": filters.min_p,
    "typical_p": filters.typical_p,
    "top_a": filters.top_a,
    "epsilon_cutoff": filters.epsilon_cutoff,
    "eta_cutoff": filters.eta_cutoff,
}
