"""Stages that drop tokens, and the temperature. SamplerConfig names each one's paper.

The sampler calls only the filters that its config switches on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .candidates import Candidates
    from .config import SamplerConfig

# Nothing is colder than taking the most probable token.
_MIN_TEMPERATURE = 1e-4


def top_k(candidates: Candidates, k: float) -> None:
    """Keep the k most probable tokens."""
    candidates.top_k(int(k))


def top_p(candidates: Candidates, p: float) -> None:
    """Keep the smallest set of the most probable tokens whose probabilities reach p."""
    candidates.top_p(p)


def min_p(candidates: Candidates, p: float) -> None:
    """Drop tokens less probable than p times the most probable one."""
    candidates.threshold(p * _largest_probability(candidates))


def top_a(candidates: Candidates, a: float) -> None:
    """Drop tokens less probable than a times the square of the largest probability."""
    candidates.threshold(a * _largest_probability(candidates) ** 2)


def epsilon_cutoff(candidates: Candidates, epsilon: float) -> None:
    """Drop tokens less probable than epsilon."""
    candidates.threshold(epsilon)


def eta_cutoff(candidates: Candidates, eta: float) -> None:
    """Drop tokens less probable than min(eta, sqrt(eta) * exp(-entropy))."""
    candidates.threshold(min(eta, math.sqrt(eta) * math.exp(-candidates.entropy)))


def typical_p(candidates: Candidates, p: float) -> None:
    """Keep the tokens whose surprisal is nearest to the entropy, until they reach p together."""
    candidates.expand(1)
    entropy = candidates.entropy
    while True:
        log_total = candidates.log_total
        distances = [abs(log_total - value - entropy) for value in candidates.values]
        # Tokens beyond the list are at least as far from the entropy as its last one, if the last
        # one's surprisal is above the entropy.
        whole = candidates.complete or len(candidates.ids) == len(candidates)
        reach = math.inf if whole else log_total - candidates.values[-1] - entropy
        kept: list[int] = []
        cumulative = 0.0
        for index in sorted(range(len(distances)), key=distances.__getitem__):
            if cumulative >= p or distances[index] > reach:
                break
            kept.append(index)
            cumulative += math.exp(candidates.values[index] - log_total)
        if cumulative >= p or not candidates.grow():
            kept.sort()
            ids, values = candidates.ids, candidates.values
            candidates.replace([ids[i] for i in kept], [values[i] for i in kept])
            return


FILTERS: dict[str, Callable[[Candidates, float], None]] = {
    f.__name__: f for f in (top_k, top_p, min_p, typical_p, top_a, epsilon_cutoff, eta_cutoff)
}


def exclude_top_choices(candidates: Candidates, threshold: float) -> None:
    """XTC: drop the tokens at least as probable as `threshold`, except the last of them."""
    n_top = candidates.expand_below(threshold)
    if n_top >= 2:
        candidates.drop_first(n_top - 1)


def temperature(candidates: Candidates, config: SamplerConfig) -> None:
    """Divide the logits by the temperature, which may follow the entropy (dynatemp)."""
    value = config.temperature
    if config.dynatemp_range > 0.0:
        lowest = max(0.0, value - config.dynatemp_range)
        highest = value + config.dynatemp_range
        max_entropy = math.log(len(candidates))
        relative = min(candidates.entropy / max_entropy, 1.0) if max_entropy > 0.0 else 0.0
        value = lowest + (highest - lowest) * relative**config.dynatemp_exponent
        value = max(value, _MIN_TEMPERATURE)
    if value != 1.0:
        candidates.apply_temperature(value)


def _largest_probability(candidates: Candidates) -> float:
    candidates.expand(1)
    return math.exp(candidates.values[0] - candidates.log_total)
