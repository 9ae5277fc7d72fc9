"""The sampler chain against probabilities computed by hand."""

from __future__ import annotations

import math
from array import array
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama_web import InvalidRequestError, SamplerConfig
from oxillama_web.backends.numpy.logits import NumpyLogitsOps
from oxillama_web.sampling import Sampler

LOGITS_OPS = NumpyLogitsOps()


def view(logits: list[float]) -> memoryview:
    return memoryview(array("f", logits))


def draw(config: SamplerConfig, logits: list[float], n: int = 4000) -> Counter[int]:
    sampler = Sampler(config, LOGITS_OPS)
    return Counter(sampler.sample(view(logits), []) for _ in range(n))


def neutral(**changes: object) -> SamplerConfig:
    """Nothing but what the test asks for."""
    fields = {
        "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0,
        "seed": 7,
    }  # fmt: skip
    return SamplerConfig(**(fields | changes))


def expect(counts: Counter[int], probabilities: dict[int, float]) -> None:
    """Each token's share is within five standard deviations; no other token was drawn."""
    n = counts.total()
    assert set(counts) <= set(probabilities)
    for token, p in probabilities.items():
        assert abs(counts[token] / n - p) <= 5 * math.sqrt(p * (1 - p) / n) + 1e-12


LOGITS = [math.log(p) for p in (0.4, 0.3, 0.2, 0.1)]


def test_without_filters_the_draw_follows_the_softmax() -> None:
    expect(draw(neutral(), LOGITS), {0: 0.4, 1: 0.3, 2: 0.2, 3: 0.1})


def test_temperature_divides_the_logits() -> None:
    squares = [0.16, 0.09, 0.04, 0.01]
    expected = {token: p / sum(squares) for token, p in enumerate(squares)}
    expect(draw(neutral(temperature=0.5), LOGITS), expected)
    expect(draw(neutral(temperature=0.5, top_k=4), LOGITS), expected)


def test_top_k_keeps_the_k_most_probable() -> None:
    expect(draw(neutral(top_k=2), LOGITS), {0: 4 / 7, 1: 3 / 7})


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    expect(draw(neutral(top_p=0.65), LOGITS), {0: 4 / 7, 1: 3 / 7})
    expect(draw(neutral(top_p=0.3), LOGITS), {0: 1.0})


def test_top_p_counts_what_top_k_left() -> None:
    # of 4/7 and 3/7 the first alone reaches 0.5
    expect(draw(neutral(top_k=2, top_p=0.5), LOGITS), {0: 1.0})


def test_min_p_is_relative_to_the_most_probable() -> None:
    expect(draw(neutral(min_p=0.6), LOGITS), {0: 4 / 7, 1: 3 / 7})


def test_filters_see_probabilities_before_the_temperature() -> None:
    expect(draw(neutral(top_p=0.65, temperature=1e4), LOGITS), {0: 0.5, 1: 0.5})


def test_a_wide_top_p_over_a_large_vocabulary_keeps_all_it_should() -> None:
    # 2,000 equal tokens: the first guess of candidates is too short
    counts = draw(neutral(top_p=0.49975), [0.0] * 2000, n=3000)
    assert 980 < max(counts) <= 999
    assert len(counts) > 700


def test_greedy_takes_the_largest_and_the_first_of_equals() -> None:
    sampler = Sampler(SamplerConfig.greedy(), LOGITS_OPS)
    assert sampler.sample(view([1.0, 3.0, 3.0, 2.0]), []) == 1


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    logits = view([2.0, -2.0, 1.0, 5.0])
    config = SamplerConfig(temperature=0, repetition_penalty=2.0, repetition_penalty_window=3)
    Sampler(config, LOGITS_OPS).sample(logits, [3, 0, 0, 1])
    assert logits.tolist() == [1.0, -4.0, 1.0, 5.0]


def test_the_same_seed_draws_the_same_tokens() -> None:
    def tokens(seed: int | None) -> list[int]:
        sampler = Sampler(SamplerConfig(seed=seed, temperature=2.0), LOGITS_OPS)
        return [sampler.sample(view(list(range(8))), []) for _ in range(50)]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)
    assert tokens(None) != tokens(None)


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=400),
    st.integers(0, 50),
    st.floats(0.01, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 5.0),
)
@settings(max_examples=200, deadline=None)
def test_what_is_drawn_always_survives_the_filters(logits, top_k, top_p, min_p, temperature):
    config = neutral(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    token = Sampler(config, LOGITS_OPS).sample(view(logits), [])
    probabilities = np.exp(np.array(logits, np.float64) - max(logits))
    probabilities /= probabilities.sum()
    assert 0 <= token < len(logits)
    slack = 1 + 1e-5
    if temperature == 0:
        assert logits[token] == max(logits)
    assert probabilities[token] * slack >= min_p * probabilities.max()
    larger = np.sort(probabilities[probabilities > probabilities[token] * slack])
    if top_k:
        assert len(larger) < top_k
        kept = np.sort(probabilities)[::-1][:top_k].sum()
    else:
        kept = 1.0
    assert larger.sum() <= top_p * kept * slack


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -1}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0},
        {"top_p": 1.1}, {"min_p": 2}, {"repetition_penalty": 0}, {"repetition_penalty_window": -1},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(fields: dict) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(fields))):
        SamplerConfig(**fields)
