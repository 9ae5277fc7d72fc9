"""Each stage of the sampler against its definition, over whole vocabularies in float64."""

from __future__ import annotations

import ctypes
import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import libraries, load

from oxillama_web import InvalidRequestError, SamplerConfig
from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.kernels.logits import KernelLogitsOps
from oxillama_web.backends.logits import LogitsOps
from oxillama_web.backends.numpy.logits import NumpyLogitsOps
from oxillama_web.sampling import Sampler
from oxillama_web.sampling.candidates import Candidates

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "seed": 3}


LOGITS_OPS: dict[str, LogitsOps] = {
    "numpy": NumpyLogitsOps(),
    "kernels": KernelLogitsOps(load_library()),
}


@pytest.fixture(params=LOGITS_OPS)
def logits_ops(request: pytest.FixtureRequest) -> LogitsOps:
    return LOGITS_OPS[request.param]


def view(logits: np.ndarray) -> memoryview:
    return memoryview(array("f", logits.astype(np.float32).tolist()))


def distribution(
    logits_ops: LogitsOps,
    logits: np.ndarray,
    recent: Sequence[int] = (),
    **fields: object,
) -> np.ndarray:
    """What the sampler draws from, float64 [vocabulary]."""
    sampler = Sampler(SamplerConfig(**(OFF | fields)), logits_ops)
    data = view(logits)
    sampler._process(data, recent)
    candidates = Candidates(data, logits_ops)
    sampler._filter(candidates)
    if not candidates.complete:
        while candidates.grow():
            pass
    assert candidates.values == sorted(candidates.values, reverse=True)
    p = np.zeros(len(logits))
    values = np.array(candidates.values)
    p[candidates.ids] = np.exp(values - values.max())
    return p / p.sum()


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits.astype(np.float64) - logits.max())
    return p / p.sum()


def normalized(p: np.ndarray) -> np.ndarray:
    return p / p.sum()


def keep_top(p: np.ndarray, keep: np.ndarray) -> np.ndarray:
    keep = keep.copy()
    keep[np.argmax(p)] = True
    return normalized(np.where(keep, p, 0))


def by_top_k(p: np.ndarray, k: int) -> np.ndarray:
    order = np.lexsort((np.arange(len(p)), -p))
    return keep_top(p, np.isin(np.arange(len(p)), order[:k]))


def by_top_p(p: np.ndarray, limit: float) -> np.ndarray:
    order = np.lexsort((np.arange(len(p)), -p))
    n = int(np.searchsorted(np.cumsum(p[order]), limit)) + 1
    return keep_top(p, np.isin(np.arange(len(p)), order[:n]))


def entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def by_typical_p(p: np.ndarray, limit: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        distance = np.abs(-np.log(p) - entropy(p))
    order = np.argsort(distance, kind="stable")
    n = int(np.searchsorted(np.cumsum(p[order]), limit)) + 1
    return normalized(np.where(np.isin(np.arange(len(p)), order[:n]), p, 0))


def by_eta(p: np.ndarray, eta: float) -> np.ndarray:
    return keep_top(p, p >= min(eta, math.sqrt(eta) * math.exp(-entropy(p))))


def by_xtc(p: np.ndarray, threshold: float) -> np.ndarray:
    top = np.flatnonzero(p >= threshold)
    if len(top) < 2:
        return p
    last = top[np.argmin(p[top])]
    keep = np.ones(len(p), bool)
    keep[top[top != last]] = False
    return normalized(np.where(keep, p, 0))


STAGES: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], list[float]]] = {
    "top_k": (by_top_k, [1, 3, 40, 5000]),
    "top_p": (by_top_p, [0.05, 0.5, 0.93, 0.9999]),
    "min_p": (lambda p, x: keep_top(p, p >= x * p.max()), [0.01, 0.1, 0.9]),
    "typical_p": (by_typical_p, [0.1, 0.5, 0.95]),
    "top_a": (lambda p, a: keep_top(p, p >= a * p.max() ** 2), [0.05, 0.4, 1.0]),
    "epsilon_cutoff": (lambda p, e: keep_top(p, p >= e), [3e-4, 0.02, 0.9]),
    "eta_cutoff": (by_eta, [3e-4, 0.02, 0.3]),
    "xtc_threshold": (by_xtc, [0.02, 0.1, 0.3]),
}
# No two tokens are alike: one exactly at a bound could be kept or dropped.
VOCABULARIES = {
    "small": np.log(np.array([0.41, 0.04, 0.23, 0.0021, 0.12, 0.0779, 0.07, 0.05])),
    "peaked": np.random.default_rng(1).standard_normal(49_152) * 3.5,
    "flat": np.random.default_rng(2).standard_normal(3_000) * 0.4,
}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_keeps_what_its_definition_keeps(
    logits_ops: LogitsOps, stage: str, vocabulary: str
) -> None:
    logits = VOCABULARIES[vocabulary].astype(np.float32)
    define, values = STAGES[stage]
    for value in values:
        fields = {stage: int(value) if stage == "top_k" else value, "xtc_probability": 1.0}
        ours = distribution(logits_ops, logits, **fields)
        expected = define(softmax(logits), value)
        if stage in ("top_p", "typical_p", "eta_cutoff") and vocabulary != "small":
            # sums over thousands of tokens are float32: the cut may move by so much probability
            moved = softmax(logits)[(ours > 0) != (expected > 0)].sum()
            assert moved < 5e-6
            np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=5e-6)
        else:
            np.testing.assert_array_equal(ours > 0, expected > 0)
            np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("first", ["temperature", "top_k", "min_p", "xtc"])
def test_stages_run_in_the_order_that_is_asked_for(logits_ops: LogitsOps, first: str) -> None:
    logits = VOCABULARIES["peaked"].astype(np.float32)
    stages = (first, *(s for s in ("top_k", "min_p", "xtc", "temperature") if s != first))
    p = logits.astype(np.float64)
    for stage in stages:
        if stage == "temperature":
            p = p / 0.6
        else:
            kept = {
                "top_k": lambda q: by_top_k(q, 30),
                "min_p": lambda q: keep_top(q, q >= 0.08 * q.max()),
                "xtc": lambda q: by_xtc(q, 0.1),
            }[stage](softmax(np.where(np.isfinite(p), p, -1e30)))
            p = np.where(kept > 0, p, -np.inf)
    ours = distribution(
        logits_ops, logits, stages=stages, temperature=0.6, top_k=30, min_p=0.08,
        xtc_threshold=0.1, xtc_probability=1.0,
    )  # fmt: skip
    np.testing.assert_allclose(ours, softmax(p), rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("top_k", [0, 20])
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_dynamic_temperature_follows_the_entropy(
    logits_ops: LogitsOps, vocabulary: str, top_k: int
) -> None:
    logits = VOCABULARIES[vocabulary].astype(np.float32)
    p = by_top_k(softmax(logits), top_k or len(logits))
    n = int((p > 0).sum())
    temperature = 0.3 + (1.3 - 0.3) * (entropy(p) / math.log(n)) ** 2
    expected = normalized(np.where(p > 0, p, 0) ** (1 / temperature))
    ours = distribution(
        logits_ops, logits, top_k=top_k, temperature=0.8, dynatemp_range=0.5, dynatemp_exponent=2.0
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-12)


def test_frequency_and_presence_penalties(logits_ops: LogitsOps) -> None:
    logits = np.array([1.0, 2.0, -1.0, 0.5])
    expected = np.array([1.0, 2.0 - 2 * 0.25 - 0.5, -1.0 - 0.25 - 0.5, 0.5])
    ours = distribution(
        logits_ops, logits, frequency_penalty=0.25, presence_penalty=0.5,
        repetition_penalty_window=3, recent=[0, 1, 1, 2],
    )  # fmt: skip
    np.testing.assert_allclose(ours, softmax(expected), rtol=1e-6)


def test_biases_and_bans(logits_ops: LogitsOps) -> None:
    logits = np.array([1.0, 2.0, -1.0, 0.5])
    ours = distribution(logits_ops, logits, logit_bias={2: 3.0, 99: 5.0}, banned_tokens=(1, 77))
    expected = softmax(np.array([1.0, -1e30, 2.0, 0.5]))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def brute_force_dry(recent: list[int], config: SamplerConfig, breakers: set[int]) -> dict:
    """For each token: the longest suffix of `recent` that stood before an earlier occurrence."""
    penalties: dict[int, float] = {}
    for end in range(1, len(recent)):
        token, length = recent[end], 0
        while (
            length < end
            and recent[end - 1 - length] == recent[len(recent) - 1 - length]
            and recent[end - 1 - length] not in breakers
        ):
            length += 1
        if length >= config.dry_allowed_length and token not in breakers:
            penalty = config.dry_multiplier * config.dry_base ** (
                length - config.dry_allowed_length
            )
            penalties[token] = max(penalties.get(token, 0.0), penalty)
    return penalties


@given(
    recent=st.lists(st.integers(0, 4), max_size=40),
    multiplier=st.sampled_from([0.0, 0.5, 2.0]),
    base=st.sampled_from([1.0, 1.75]),
    allowed=st.integers(1, 4),
    breakers=st.sets(st.integers(0, 4), max_size=2),
)
@settings(max_examples=300, deadline=None)
def test_dry_penalizes_what_would_extend_a_repetition(
    recent: list[int], multiplier: float, base: float, allowed: int, breakers: set[int]
) -> None:
    config = SamplerConfig(
        **OFF, dry_multiplier=multiplier, dry_base=base, dry_allowed_length=allowed,
        dry_sequence_breakers=("!",),
    )  # fmt: skip
    logits = view(np.zeros(5))
    sampler = Sampler(config, LOGITS_OPS["numpy"], lambda token: "!" if token in breakers else "a")
    sampler._process(logits, recent)
    expected = brute_force_dry(recent, config, breakers)
    got = {token: -value for token, value in enumerate(logits) if value}
    assert got == pytest.approx({t: p for t, p in expected.items() if p}, rel=1e-6)


def test_xtc_acts_as_often_as_it_should() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    config = SamplerConfig(**OFF, xtc_threshold=0.1, xtc_probability=0.25)
    sampler = Sampler(config, LOGITS_OPS["kernels"])
    counts = Counter(sampler.sample(view(logits), []) for _ in range(8000))
    # dropped: tokens 0 and 1; token 2 is the least probable top choice
    expected = [0.75 * 0.5, 0.75 * 0.3, 0.75 * 0.15 + 0.25 * 0.75, 0.75 * 0.05 + 0.25 * 0.25]
    for token, p in enumerate(expected):
        assert abs(counts[token] / 8000 - p) < 5 * math.sqrt(p * (1 - p) / 8000)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("target", [2.0, 4.0])
def test_mirostat_holds_the_surprisal_near_its_target(version: int, target: float) -> None:
    # Zipf's law, as texts follow it
    logits = -1.1 * np.log(np.arange(1, 20_001))
    config = SamplerConfig(**OFF, mirostat=version, mirostat_tau=target)
    sampler = Sampler(config, LOGITS_OPS["kernels"])
    data = view(logits)
    allowed = []
    for _ in range(1500):
        token = sampler.sample(data, [])
        allowed.append((token, sampler._mirostat.max_surprisal))
    mean_largest = np.mean([largest for _, largest in allowed[500:]])
    # the surprisal of a token under what was allowed when it was drawn
    surprisals = [
        -math.log2(softmax(cut(logits, version, largest))[token])
        for (token, _), (_, largest) in zip(allowed[501:], allowed[500:-1], strict=True)
    ]
    assert abs(np.mean(surprisals) - target) < 0.25
    assert 0 < mean_largest < 40


def cut(logits: np.ndarray, version: int, largest: float) -> np.ndarray:
    p = softmax(logits)
    if version == 2:
        keep = p >= 2.0**-largest
    else:
        t, b = np.log(np.arange(2, 101) / np.arange(1, 100)), logits[:99] - logits[1:100]
        s = float((t * b).sum() / (t * t).sum())
        k = ((s - 1) * 2**largest / (1 - len(p) ** -(s - 1))) ** (1 / s)
        keep = np.arange(len(p)) < round(k)
    keep[0] = True
    return np.where(keep, logits, -1e30)


@given(st.integers(1, 700), st.floats(0.05, 30), st.sampled_from([0.1, 0.7, 1.0, 5.0]))
@settings(max_examples=60, deadline=None)
def test_entropy(n: int, spread: float, temperature: float) -> None:
    logits = np.random.default_rng(n).standard_normal(n).astype(np.float32) * np.float32(spread)
    logits[n // 2] = -np.inf if n > 2 else logits[n // 2]
    expected = entropy(softmax(logits / np.float64(temperature)))
    for logits_ops in LOGITS_OPS.values():
        assert logits_ops.entropy(view(logits), temperature) == pytest.approx(expected, abs=2e-5)
    for isa in libraries():
        library = load(isa)
        data = array("f", logits.tolist())
        library.ox_entropy.restype = ctypes.c_float
        got = library.ox_entropy(
            ctypes.c_void_p(data.buffer_info()[0]), n, ctypes.c_float(temperature)
        )
        assert got == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"typical_p": 0}, {"top_a": 2}, {"epsilon_cutoff": -1}, {"eta_cutoff": 2},
        {"dry_base": 0.5}, {"dry_allowed_length": 0}, {"xtc_probability": 1.5}, {"mirostat": 3},
        {"mirostat_tau": math.nan}, {"stages": ("top_k", "bottom_k")}, {"stop": ("",)},
        {"logit_bias": {1: math.nan}}, {"dynatemp_range": -1},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(fields: dict) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(fields))):
        SamplerConfig(**fields)
