"""The parameters of a request that say how tokens are chosen, and how many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..errors import InvalidRequestError
from ..sampling import SamplerConfig
from ..validation import Check, any_text, boolean, integer
from .errors import APIError, invalid, to_api_error
from .parameters import an_object, anything, stop_texts

# SamplerConfig checks its fields itself. Those that the API lacks, such as top_k and min_p, can be
# given too; json_schema is the API's response_format.
_SAMPLER_FIELDS = {field.name for field in fields(SamplerConfig)} - {"json_schema"}

SAMPLING_CHECKS: dict[str, Check] = {
    **dict.fromkeys(_SAMPLER_FIELDS, anything),
    "logit_bias": an_object,
    "stop": stop_texts,
    "max_tokens": integer(0),
    "model": any_text,
    "n": integer(1, 128),
    "stream": boolean,
    "stream_options": an_object,
    "user": any_text,  # a label, which changes no answer
}


def read_sampler(
    parameters: Mapping[str, Any], defaults: SamplerConfig, **constraint: Any
) -> SamplerConfig:
    """Return the sampler of a request.

    Args:
        parameters: of the request.
        defaults: has what the request leaves open.
        constraint: further fields, such as `json_schema`.

    Raises:
        APIError: a value is wrong.
    """
    chosen = {name: parameters[name] for name in _SAMPLER_FIELDS & parameters.keys()}
    if "logit_bias" in chosen:
        chosen["logit_bias"] = _read_bias(chosen["logit_bias"])
    try:
        return replace(defaults, **chosen, **constraint)
    except InvalidRequestError as error:
        known = to_api_error(error)
        name = str(error).split(" ", 1)[0]
        raise APIError(400, str(known), param=name if name in chosen else None) from error


def seeds(sampler: SamplerConfig, n: int) -> list[SamplerConfig]:
    """Return a sampler for each of `n` answers: each has a seed of its own, if there is one."""
    if sampler.seed is None:
        return [sampler] * n
    return [replace(sampler, seed=sampler.seed + index) for index in range(n)]


def wants_usage(parameters: Mapping[str, Any]) -> bool:
    """Return whether the last chunk of a stream shall count the tokens.

    Raises:
        APIError: an option of the stream is not known.
    """
    options = parameters.get("stream_options", {})
    for name in options:
        if name not in ("include_usage", "include_obfuscation"):
            raise invalid("stream_options", f"unknown stream option {name!r}")
    if options and not parameters.get("stream"):
        raise invalid("stream_options", "stream_options needs stream to be true")
    return bool(options.get("include_usage"))


def _read_bias(bias: Mapping[str, Any]) -> dict[int, float]:
    """Return biases by token id; JSON has no numbers as keys."""
    read = {}
    for token, value in bias.items():
        try:
            read[int(token)] = value
        except ValueError as error:
            raise invalid(
                "logit_bias", f"logit_bias has the key {token!r}; its keys are token ids"
            ) from error
    return read
