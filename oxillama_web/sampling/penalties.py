"""Stages that change the logits of a few tokens, in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import SamplerConfig

# Repetitions are looked for in so many of the last tokens.
_DRY_WINDOW = 1024


def has_bias(config: SamplerConfig) -> bool:
    """Whether `bias` changes anything."""
    return bool(config.logit_bias or config.banned_tokens)


def has_penalties(config: SamplerConfig) -> bool:
    """Whether `penalize` changes anything."""
    factors = (config.repetition_penalty, config.frequency_penalty, config.presence_penalty)
    return config.repetition_penalty_window != 0 and factors != (1.0, 0.0, 0.0)


def has_dry(config: SamplerConfig) -> bool:
    """Whether `penalize_repetitions` changes anything."""
    return config.dry_multiplier != 0.0


def bias(logits: memoryview[float], config: SamplerConfig) -> None:
    """Adds `logit_bias`, and makes `banned_tokens` impossible."""
    for token, value in config.logit_bias.items():
        if 0 <= token < len(logits):
            logits[token] += value
    for token in config.banned_tokens:
        if 0 <= token < len(logits):
            logits[token] = -math.inf


def penalize(logits: memoryview[float], recent: Sequence[int], config: SamplerConfig) -> None:
    """The repetition, frequency and presence penalties."""
    window, factor = config.repetition_penalty_window, config.repetition_penalty
    frequency, presence = config.frequency_penalty, config.presence_penalty
    counts: dict[int, int] = {}
    for token in recent[-window:]:
        counts[token] = counts.get(token, 0) + 1
    for token, count in counts.items():
        value = logits[token]
        value = value / factor if value > 0.0 else value * factor
        logits[token] = value - count * frequency - presence


def penalize_repetitions(
    logits: memoryview[float],
    recent: Sequence[int],
    config: SamplerConfig,
    breaks: Callable[[int], bool],
) -> None:
    """DRY: makes tokens less likely that would go on with a repetition of the last tokens.

    Args:
        breaks: whether a token ends what can be repeated.
    """
    tokens = list(recent[-_DRY_WINDOW:])
    for token, length in _repeated(tokens, breaks).items():
        if length >= config.dry_allowed_length:
            exponent = min(length - config.dry_allowed_length, _largest_exponent(config.dry_base))
            logits[token] -= config.dry_multiplier * config.dry_base**exponent


def _repeated(tokens: list[int], breaks: Callable[[int], bool]) -> dict[int, int]:
    """For each token that followed the last tokens before: how many of those came before it too.

    The longest repetition counts. Nothing is repeated beyond a token that breaks.
    """
    backwards = tokens[::-1]
    limit = next((i for i, token in enumerate(backwards) if breaks(token)), len(backwards))
    lengths: dict[int, int] = {}
    for start, length in enumerate(_prefix_lengths(backwards)):
        follower = backwards[start - 1]
        if start > 0 and length > 0 and not breaks(follower):
            lengths[follower] = max(lengths.get(follower, 0), min(length, limit))
    return lengths


def _prefix_lengths(sequence: list[int]) -> list[int]:
    """How long a prefix of the sequence begins at each place: the Z-function, in linear time.

    Gusfield 1997, Algorithms on Strings, Trees and Sequences, section 1.4.
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


def _largest_exponent(base: float) -> float:
    """Where the penalty would leave float32."""
    return 80.0 / math.log(base) if base > 1.0 else math.inf
