"""What a caller chooses about sampling.

A new stage that drops tokens is a field here, a place in DEFAULT_STAGES, and a function of the
field's name in filters.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any

from ..errors import InvalidRequestError
from ..validation import (
    MAX_COUNT,
    MAX_INT64,
    any_text,
    check_settings,
    choice,
    instance,
    integer,
    mapping_of,
    nonempty_texts,
    number,
    optional,
    setting,
    tuple_of,
)

# llama.cpp's order. Stages that it lacks follow min_p.
DEFAULT_STAGES = (
    "penalties", "dry", "top_k", "typical_p", "top_p", "min_p", "top_a", "epsilon_cutoff",
    "eta_cutoff", "xtc", "temperature",
)  # fmt: skip
_TOP_P = number(0, 1, above=True)
_SCHEMA = instance((Mapping, bool, str), "a JSON Schema: a mapping, or JSON text")
_STAGES = tuple_of(choice(*DEFAULT_STAGES), "a list of stages")
_TOKENS = tuple_of(integer(0), "a list of token ids")
_BIASES = mapping_of(integer(0), number(-inf, inf), "a mapping of token ids to numbers")


def _number(default: float, lowest: float, highest: float, off: float | None = None) -> Any:
    """Declare a field with the numbers that it may be.

    Args:
        off: the value with which the stage of this name changes nothing.
    """
    return setting(default, number(lowest, highest), off=off)


def _count(default: int, lowest: int, highest: int = MAX_COUNT, off: int | None = None) -> Any:
    """Declare a field with the integers that it may be."""
    return setting(default, integer(lowest, highest), off=off)


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """How the next token is chosen from the logits. See docs/sampling.md.

    Attributes:
        temperature: 0 takes the most probable token (greedy); higher values vary more.
        top_k: keep the k most probable tokens; 0 keeps all.
        top_p: keep the smallest set whose probabilities sum to at least this (nucleus sampling,
            Holtzman et al. 2020, https://arxiv.org/abs/1904.09751); 1 keeps all.
        min_p: keep tokens at least this fraction as probable as the most probable one
            (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082).
        typical_p: keep the smallest set of tokens whose surprisal is nearest to the expected one
            and whose probabilities sum to this (Meister et al. 2023,
            https://arxiv.org/abs/2202.00666); 1 keeps all.
        top_a: drop tokens less probable than this times the square of the largest probability.
        epsilon_cutoff: drop tokens less probable than this (Hewitt et al. 2022,
            https://arxiv.org/abs/2210.15191).
        eta_cutoff: the same with a bound min(eta, sqrt(eta) * exp(-entropy)), from the same paper.
        repetition_penalty: divides positive and multiplies negative logits of recent tokens
            (Keskar et al. 2019, https://arxiv.org/abs/1909.05858); 1 switches it off.
        repetition_penalty_window: how many of the last tokens count as recent.
        frequency_penalty: subtracted from a recent token's logit, times its number of occurrences.
        presence_penalty: subtracted from each recent token's logit.
        dry_multiplier: the DRY penalty of a token that would extend a repetition of the last
            tokens is multiplier * base^(length - allowed_length), where `length` tokens repeat so
            far; 0 switches it off.
            https://github.com/oobabooga/text-generation-webui/pull/5677
        dry_base: see dry_multiplier.
        dry_allowed_length: shorter repetitions are free.
        dry_sequence_breakers: texts that end a repetition.
        xtc_threshold: tokens at least this probable are the top choices; all but the least
            probable of them are dropped (exclude top choices); 0 switches it off.
            https://github.com/oobabooga/text-generation-webui/pull/6335
        xtc_probability: how often that is done.
        mirostat: version 1 or 2 keeps each token's surprisal near a target, instead of the filters
            (Basu et al. 2021, https://arxiv.org/abs/2007.14966); 0 switches it off.
        mirostat_tau: the target, in bits.
        mirostat_eta: the learning rate.
        dynatemp_range: the temperature varies by this much around `temperature`, and is higher
            where the model is less certain; 0 switches that off.
        dynatemp_exponent: applied to the normalized entropy that the temperature follows.
        logit_bias: added to the logits of tokens, by id.
        banned_tokens: ids that are never chosen.
        stages: the order of the stages; a stage that is left out does not run.
        stop: texts that end an answer; they are not part of it.
        grammar: the answer follows this GBNF grammar, from its rule `root`.
        json_schema: the answer is JSON that validates against this schema, as a mapping or as JSON
            text.
        seed: the same seed gives the same text; None draws one from the system.
    """

    temperature: float = _number(0.7, 0, 1e4)
    top_k: int = _count(40, 0, off=0)
    top_p: float = setting(0.9, _TOP_P, off=1)
    min_p: float = _number(0.0, 0, 1, off=0)
    typical_p: float = setting(1.0, _TOP_P, off=1)
    top_a: float = _number(0.0, 0, 1, off=0)
    epsilon_cutoff: float = _number(0.0, 0, 1, off=0)
    eta_cutoff: float = _number(0.0, 0, 1, off=0)
    repetition_penalty: float = _number(1.1, 1e-3, 1e3)
    repetition_penalty_window: int = _count(64, 0)
    frequency_penalty: float = _number(0.0, -1e3, 1e3)
    presence_penalty: float = _number(0.0, -1e3, 1e3)
    dry_multiplier: float = _number(0.0, 0, 1e3)
    dry_base: float = _number(1.75, 1, 1e3)
    dry_allowed_length: int = _count(2, 1)
    dry_sequence_breakers: tuple[str, ...] = setting(("\n", ":", '"', "*"), nonempty_texts)
    xtc_threshold: float = _number(0.0, 0, 1)
    xtc_probability: float = _number(0.5, 0, 1)
    mirostat: int = _count(0, 0, 2)
    mirostat_tau: float = _number(5.0, 0, 1e3)
    mirostat_eta: float = _number(0.1, 0, 1)
    dynatemp_range: float = _number(0.0, 0, 1e4)
    dynatemp_exponent: float = _number(1.0, 0, 1e3)
    logit_bias: Mapping[int, float] = field(default_factory=dict, metadata={"check": _BIASES})
    banned_tokens: tuple[int, ...] = setting((), _TOKENS)
    stages: tuple[str, ...] = setting(DEFAULT_STAGES, _STAGES)
    stop: tuple[str, ...] = setting((), nonempty_texts)
    grammar: str | None = setting(None, optional(any_text))
    json_schema: Mapping[str, Any] | bool | str | None = setting(None, optional(_SCHEMA))
    seed: int | None = setting(None, optional(integer(-MAX_INT64 - 1, 2 * MAX_INT64 + 1)))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.grammar is not None and self.json_schema is not None:
            raise InvalidRequestError("give a grammar or a json_schema, not both")

    @classmethod
    def greedy(cls) -> SamplerConfig:
        """Return a config that takes the most probable token, with no penalty."""
        return cls(temperature=0.0, repetition_penalty=1.0)

    @classmethod
    def mirostat_v2(cls, tau: float = 5.0, eta: float = 0.1) -> SamplerConfig:
        """Return a config of Mirostat 2: a surprisal of `tau` bits, and the learning rate `eta`."""
        return cls(mirostat=2, mirostat_tau=tau, mirostat_eta=eta)


def is_active(config: SamplerConfig, stage: str) -> bool:
    """Return whether a stage of filters.py drops anything with these values."""
    return bool(getattr(config, stage) != _OFF[stage])


_OFF = {f.name: f.metadata["off"] for f in fields(SamplerConfig) if "off" in f.metadata}
