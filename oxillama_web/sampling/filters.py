"""Stages that drop tokens. SamplerConfig says where each comes from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .candidates import Candidates


def top_k(candidates: Candidates, k: int) -> None:
    """Keeps the k most probable tokens; 0 keeps all."""
    if k > 0:
        candidates.keep(k)


def top_p(candidates: Candidates, p: float) -> None:
    """Keeps the smallest set of the most probable tokens whose probabilities reach p."""
    if p < 1.0:
        candidates.keep_until(p)


def min_p(candidates: Candidates, p: float) -> None:
    """Drops tokens less probable than p times the most probable one."""
    if p > 0.0:
        candidates.take(1)
        largest = math.exp(candidates.values[0] - candidates.log_total)
        candidates.keep_while_above(p * largest)


def top_a(candidates: Candidates, a: float) -> None:
    """Drops tokens less probable than a times the square of the largest probability."""
    if a > 0.0:
        candidates.take(1)
        largest = math.exp(candidates.values[0] - candidates.log_total)
        candidates.keep_while_above(a * largest * largest)


def epsilon_cutoff(candidates: Candidates, epsilon: float) -> None:
    """Drops tokens less probable than epsilon."""
    candidates.keep_while_above(epsilon)


def eta_cutoff(candidates: Candidates, eta: float) -> None:
    """Drops tokens less probable than min(eta, sqrt(eta) * exp(-entropy))."""
    if eta > 0.0:
        candidates.keep_while_above(min(eta, math.sqrt(eta) * math.exp(-candidates.entropy)))


def typical_p(candidates: Candidates, p: float) -> None:
    """Keeps the tokens whose surprise is nearest to the entropy, until their chances reach p."""
    if p >= 1.0:
        return
    candidates.take(1)
    entropy = candidates.entropy
    while True:
        log_total = candidates.log_total
        # tokens beyond the list are at least as far from the entropy as its last one, if that one
        # is more surprising than the entropy
        last = log_total - candidates.values[-1] - entropy
        whole = candidates.complete or len(candidates.ids) == len(candidates)
        reach = math.inf if whole else last
        order = sorted(
            range(len(candidates.ids)),
            key=lambda i: (abs(log_total - candidates.values[i] - entropy), i),
        )
        kept: list[int] = []
        cumulative = 0.0
        for index in order:
            if abs(log_total - candidates.values[index] - entropy) > reach:
                break
            kept.append(index)
            cumulative += math.exp(candidates.values[index] - log_total)
            if cumulative >= p:
                break
        if cumulative >= p or not candidates.grow():
            kept.sort()
            ids, values = candidates.ids, candidates.values
            candidates.replace([ids[i] for i in kept], [values[i] for i in kept])
            return


def exclude_top_choices(candidates: Candidates, threshold: float) -> None:
    """XTC: drops the tokens at least as probable as `threshold`, but for the last of them."""
    candidates.take(2)
    lowest = candidates.log_total + math.log(threshold) - 1e-9
    while candidates.values[-1] >= lowest and candidates.grow():
        pass
    n_top = next((i for i, v in enumerate(candidates.values) if v < lowest), len(candidates.ids))
    if n_top >= 2:
        candidates.drop_first(n_top - 1)
