"""What a caller chooses about sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidRequestError
from ..validation import require

# llama.cpp's order; what it does not have stands behind min_p.
DEFAULT_STAGES = (
    "penalties", "dry", "top_k", "typical_p", "top_p", "min_p", "top_a", "epsilon_cutoff",
    "eta_cutoff", "xtc", "temperature",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """How the next token is chosen from the logits. docs/sampling.md tells more of each.

    Attributes:
        temperature: 0 chooses the most probable token (greedy); higher is more varied.
        top_k: keep the k most probable tokens; 0 keeps all.
        top_p: keep the smallest set whose probabilities sum to at least this (nucleus sampling,
            Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
        min_p: keep tokens at least this fraction as probable as the most probable one
            (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082).
        typical_p: keep the smallest set of tokens whose surprise is nearest to the expected one
            and whose probabilities sum to this (Meister et al. 2023,
            https://arxiv.org/abs/2202.00666); 1 keeps all.
        top_a: drop tokens less probable than this times the square of the largest probability.
        epsilon_cutoff: drop tokens less probable than this (Hewitt et al. 2022,
            https://arxiv.org/abs/2210.15191).
        eta_cutoff: the same with a bound min(eta, sqrt(eta) * exp(-entropy)), from the same paper.
        repetition_penalty: divides positive and multiplies negative logits of recent tokens
            (Keskar et al. 2019, https://arxiv.org/abs/1909.05858); 1 switches it off.
        repetition_penalty_window: how many of the last tokens count as recent.
        frequency_penalty: taken from a recent token's logit, times how often it occurs.
        presence_penalty: taken from each recent token's logit.
        dry_multiplier: penalty of a token that would extend a repetition of the last tokens:
            multiplier * base^(length - allowed_length), where `length` tokens repeat so far; 0
            switches it off. DRY, https://github.com/oobabooga/text-generation-webui/pull/5677.
        dry_base: see there.
        dry_allowed_length: repetitions shorter than this are free.
        dry_sequence_breakers: texts that end a repetition.
        xtc_threshold: tokens at least this probable are the top choices, of which all but the
            least probable one are dropped; 0 switches it off. Exclude top choices,
            https://github.com/oobabooga/text-generation-webui/pull/6335.
        xtc_probability: how often that is done.
        mirostat: 1 or 2 keep each token's surprise near a target, instead of the filters
            (Basu et al. 2021, https://arxiv.org/abs/2007.14966); 0 switches it off.
        mirostat_tau: the target, in bits.
        mirostat_eta: how fast it is approached.
        dynatemp_range: the temperature varies by so much around `temperature`, higher where the
            model is less sure; 0 switches it off.
        dynatemp_exponent: bends that.
        logit_bias: added to the logits of tokens, by id.
        banned_tokens: ids that are never chosen.
        stages: the order of the stages; what is left out does not run.
        stop: texts that end an answer; they are not part of it.
        grammar: the answer follows this GBNF grammar, from its rule `root`.
        json_schema: the answer is JSON that validates against this schema, as a mapping or as JSON
            text.
        seed: the same seed gives the same text; None draws one from the system.
    """

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    top_a: float = 0.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    repetition_penalty: float = 1.1
    repetition_penalty_window: int = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    xtc_threshold: float = 0.0
    xtc_probability: float = 0.5
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    banned_tokens: tuple[int, ...] = ()
    stages: tuple[str, ...] = DEFAULT_STAGES
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    json_schema: Mapping[str, Any] | bool | str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            require(lowest <= value <= highest, name, value, f"{lowest:g} to {highest:g}")
        require(0.0 < self.top_p <= 1.0, "top_p", self.top_p, "above 0, at most 1")
        require(0.0 < self.typical_p <= 1.0, "typical_p", self.typical_p, "above 0, at most 1")
        require(self.mirostat in (0, 1, 2), "mirostat", self.mirostat, "0, 1 or 2")
        for stage in self.stages:
            require(stage in DEFAULT_STAGES, "stages", stage, f"one of {', '.join(DEFAULT_STAGES)}")
        for bias in self.logit_bias.values():
            require(bias == bias, "logit_bias", bias, "a number")
        if self.grammar is not None and self.json_schema is not None:
            raise InvalidRequestError("give a grammar or a json_schema, not both")
        require("" not in self.stop, "stop", self.stop, "texts of at least one letter")

    @classmethod
    def greedy(cls) -> SamplerConfig:
        """Always the most probable token, with no penalty."""
        return cls(temperature=0.0, repetition_penalty=1.0)


_MANY = 1 << 30
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 1e4),
    "top_k": (0, _MANY),
    "min_p": (0, 1),
    "top_a": (0, 1),
    "epsilon_cutoff": (0, 1),
    "eta_cutoff": (0, 1),
    "repetition_penalty": (1e-3, 1e3),
    "repetition_penalty_window": (0, _MANY),
    "frequency_penalty": (-1e3, 1e3),
    "presence_penalty": (-1e3, 1e3),
    "dry_multiplier": (0, 1e3),
    "dry_base": (1, 1e3),
    "dry_allowed_length": (1, _MANY),
    "xtc_threshold": (0, 1),
    "xtc_probability": (0, 1),
    "mirostat_tau": (0, 1e3),
    "mirostat_eta": (0, 1),
    "dynatemp_range": (0, 1e4),
    "dynatemp_exponent": (0, 1e3),
}
