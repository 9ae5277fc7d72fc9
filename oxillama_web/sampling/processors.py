"""Logits processors: stages that change the logits of a few tokens, in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import SamplerConfig

    # takes the logits, float32 [vocabulary], and the tokens so far, oldest first
    LogitsProcessor = Callable[[memoryview[float], Sequence[int]], None]

# DRY looks for repetitions in this many of the last tokens.
_DRY_WINDOW = 1024


def logits_processors(
    config: SamplerConfig, token_text: Callable[[int], str]
) -> list[LogitsProcessor]:
    """Return the processors that are switched on, in the order in which they run.

    Args:
        token_text: returns a token's text, for the sequence breakers of DRY.
    """
    processors: list[LogitsProcessor] = []
    if config.logit_bias or config.banned_tokens:
        processors.append(partial(add_biases, config=config))
    for stage in config.stages:
        if stage == "penalties" and _has_penalties(config):
            processors.append(partial(penalize, config=config))
        elif stage == "dry" and config.dry_multiplier != 0.0:
            is_breaker = _sequence_breaker(config, token_text)
            processors.append(partial(penalize_repetition, config=config, is_breaker=is_breaker))
    return processors


def add_biases(logits: memoryview[float], recent: Sequence[int], config: SamplerConfig) -> None:
    """Add `logit_bias`, and make `banned_tokens` impossible."""
    for token, value in config.logit_bias.items():
        if 0 <= token < len(logits):
            logits[token] += value
    for token in config.banned_tokens:
        if 0 <= token < len(logits):
            logits[token] = -math.inf


def penalize(logits: memoryview[float], recent: Sequence[int], config: SamplerConfig) -> None:
    """Apply the repetition, frequency and presence penalties."""
    window, factor = config.repetition_penalty_window, config.repetition_penalty
    frequency, presence = config.frequency_penalty, config.presence_penalty
    counts: dict[int, int] = {}
    for token in recent[-window:]:
        counts[token] = counts.get(token, 0) + 1
    for token, count in counts.items():
        value = logits[token]
        value = value / factor if value > 0.0 else value * factor
        logits[token] = value - count * frequency - presence


def penalize_repetition(
    logits: memoryview[float],
    recent: Sequence[int],
    config: SamplerConfig,
    is_breaker: Callable[[int], bool],
) -> None:
    """DRY: make tokens less likely that would extend a repetition of the last tokens.

    Args:
        is_breaker: returns whether a token ends what can be repeated.
    """
    tokens = list(recent[-_DRY_WINDOW:])
    for token, length in _repeated_lengths(tokens, is_breaker).items():
        if length >= config.dry_allowed_length:
            exponent = min(length - config.dry_allowed_length, _max_exponent(config.dry_base))
            logits[token] -= config.dry_multiplier * config.dry_base**exponent


def _has_penalties(config: SamplerConfig) -> bool:
    factors = (config.repetition_penalty, config.frequency_penalty, config.presence_penalty)
    return config.repetition_penalty_window != 0 and factors != (1.0, 0.0, 0.0)


def _sequence_breaker(
    config: SamplerConfig, token_text: Callable[[int], str]
) -> Callable[[int], bool]:
    @cache
    def is_breaker(token: int) -> bool:
        text = token_text(token)
        return any(breaker in text for breaker in config.dry_sequence_breakers)

    return is_breaker


def _repeated_lengths(tokens: list[int], is_breaker: Callable[[int], bool]) -> dict[int, int]:
    """Return how long a repetition each token would extend.

    A token counts if it followed an earlier occurrence of the last tokens. The longest such
    occurrence gives its length; nothing is repeated across a sequence breaker.
    """
    backwards = tokens[::-1]
    limit = next((i for i, token in enumerate(backwards) if is_breaker(token)), len(backwards))
    lengths: dict[int, int] = {}
    for start, length in enumerate(_prefix_lengths(backwards)):
        follower = backwards[start - 1]
        if start > 0 and length > 0 and not is_breaker(follower):
            lengths[follower] = max(lengths.get(follower, 0), min(length, limit))
    return lengths


def _prefix_lengths(sequence: list[int]) -> list[int]:
    """Return how long a prefix of the sequence begins at each place: the Z-function.

    It takes linear time: Gusfield 1997, Algorithms on Strings, Trees and Sequences, section 1.4.
    """
    lengths = [0] * len(sequence)
    left = right = 0
    for i in range(1, len(sequence)):
        length = min(right - i, lengths[i - left]) if i < right else 0
        while i + length < len(sequence) and sequence[length] == sequence[i + length]:
            length += 1
        lengths[i] = length
        if i + length > right:
            left, right = i, i + length
    return lengths


def _max_exponent(base: float) -> float:
    """Return the exponent beyond which the penalty would leave float32."""
    return 80.0 / math.log(base) if base > 1.0 else math.inf
