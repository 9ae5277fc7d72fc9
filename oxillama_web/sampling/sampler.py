"""The sampler chain: logits processors, a constraint, the filters in order, and a draw.

Each filter sees the probabilities that the stages before it have left.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from . import filters
from .candidates import Candidates
from .config import is_active
from .filters import FILTERS
from .processors import logits_processors

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps
    from .config import SamplerConfig


class Constraint(Protocol):
    """What restricts an answer, such as a grammar, and follows it token by token."""

    def restrict(
        self, logits: memoryview[float], n_needed: int | None
    ) -> tuple[list[int], list[float]] | None:
        """Exclude the tokens that may not come next.

        Args:
            logits: float32 [vocabulary], changed in place if None is returned.
            n_needed: this many of the most probable allowed tokens are enough; None needs all.

        Returns:
            All allowed tokens or the n_needed most probable ones, descending, with their logits;
            or None if the logits of all other tokens are now -infinity.
        """

    def advance(self, token: int) -> None:
        """Append a token that `restrict` allowed."""


class Sampler:
    """Draws the tokens of one answer; it holds the random state.

    Args:
        token_text: returns a token's text, for `dry_sequence_breakers`.
        constraint: excludes tokens before the filters, so the draw has exactly the distribution
            that the chain gives the allowed tokens.
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
        self._constraint = constraint
        self._processors = logits_processors(config, token_text)
        self._filters = self._active_filters()
        self._is_greedy = _is_greedy(config)
        self._n_needed = _n_needed(config)
        self._mirostat = None
        if config.mirostat:
            from .mirostat import Mirostat

            self._mirostat = Mirostat(config)

    def sample(self, logits: memoryview[float], recent: Sequence[int]) -> int:
        """Return the next token.

        Args:
            logits: float32 [vocabulary], changed in place.
            recent: the tokens so far, oldest first.
        """
        self._process(logits, recent)
        candidates = Candidates(logits, self._logits_ops)
        if self._constraint is None:
            return self._choose(candidates)
        allowed = self._constraint.restrict(logits, self._n_needed)
        if allowed is not None:
            candidates.replace(*allowed)
        token = self._choose(candidates)
        self._constraint.advance(token)
        return token

    def _process(self, logits: memoryview[float], recent: Sequence[int]) -> None:
        for process in self._processors:
            process(logits, recent)

    def _choose(self, candidates: Candidates) -> int:
        if self._is_greedy:
            candidates.expand(1)
            return candidates.ids[0]
        self._filter(candidates)
        uniform = self._random.random()
        if self._mirostat is not None:
            return self._mirostat.draw(candidates, uniform)
        return candidates.draw(uniform)

    def _filter(self, candidates: Candidates) -> None:
        for apply in self._filters:
            apply(candidates)

    def _active_filters(self) -> list[Callable[[Candidates], None]]:
        config = self._config
        active: list[Callable[[Candidates], None]] = []
        for stage in config.stages:
            if stage == "temperature":
                active.append(partial(filters.temperature, config=config))
            elif config.mirostat:
                continue
            elif stage == "xtc" and config.xtc_threshold > 0.0:
                active.append(self._exclude_top_choices)
            elif stage in FILTERS and is_active(config, stage):
                active.append(_with_value(FILTERS[stage], getattr(config, stage)))
        return active

    def _exclude_top_choices(self, candidates: Candidates) -> None:
        if self._random.random() < self._config.xtc_probability:
            filters.exclude_top_choices(candidates, self._config.xtc_threshold)


def _with_value(
    apply: Callable[[Candidates, float], None], value: float
) -> Callable[[Candidates], None]:
    return lambda candidates: apply(candidates, value)


def _is_greedy(config: SamplerConfig) -> bool:
    return config.temperature == 0.0 and config.dynatemp_range == 0.0


def _n_needed(config: SamplerConfig) -> int | None:
    """Return how many of the most probable tokens decide the draw; None if any token may."""
    if _is_greedy(config):
        return 1
    if not config.mirostat:
        for stage in config.stages:
            if stage == "top_k" and config.top_k > 0:
                return config.top_k
            if _uses_all(config, stage):
                break
    return None


def _uses_all(config: SamplerConfig, stage: str) -> bool:
    """Return whether a stage depends on the probabilities of all tokens."""
    if stage in FILTERS:
        return is_active(config, stage)
    return (stage == "xtc" and config.xtc_threshold > 0.0) or (
        stage == "temperature" and config.dynatemp_range > 0.0
    )
