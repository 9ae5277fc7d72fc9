"""Rotary frequencies, as a model's metadata asks to scale them for contexts beyond its training.

NTK-aware scaling needs no more than another base, which is what files hold; Llama 3's scaling and
LongRoPE's are tensors of divisors, one a frequency.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ModelFormatError, UnsupportedModelError

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile
    from ..plan.operations import PlanBuilder

_KINDS = ("none", "linear", "yarn", "longrope")


class Rope(NamedTuple):
    """Frequencies in radians a position, one a pair; `magnitude` multiplies cosines and sines."""

    frequencies: list[float]
    magnitude: float


def add_rope_table(plan: PlanBuilder, dst: str, gguf: GGUFFile, config: ModelConfig) -> None:
    """The cosines and sines of a model that has one set of frequencies for all layers."""
    rope = scaled_rope(gguf, config)
    plan.rope_table(dst, rope.frequencies, (rope.magnitude,))


def plain_frequencies(n_rot: int, base: float) -> list[float]:
    """base^(-2j/n). Su et al. 2021, https://arxiv.org/abs/2104.09864."""
    if not base > 0.0:
        raise ModelFormatError(f"the rotary base is {base}; it must be above 0")
    return [base ** (-2.0 * j / n_rot) for j in range(n_rot // 2)]


def scaled_rope(gguf: GGUFFile, config: ModelConfig) -> Rope:
    """The model's frequencies, scaled as its metadata and tensors say.

    Linear scaling: Chen et al. 2023, https://arxiv.org/abs/2306.15595. YaRN: Peng et al. 2023,
    https://arxiv.org/abs/2309.00071. LongRoPE: Ding et al. 2024, https://arxiv.org/abs/2402.13753.

    Raises:
        ModelFormatError: a number or tensor does not fit.
        UnsupportedModelError: the kind of scaling is not known.
    """
    arch, n_rot = config.architecture, config.rope_dim
    kind = gguf.get_str(f"{arch}.rope.scaling.type", "linear")
    if kind not in _KINDS:
        raise UnsupportedModelError(
            f"rotary scaling {kind!r} is not supported; these are: {', '.join(_KINDS)}"
        )
    frequencies = plain_frequencies(n_rot, config.rope_base)
    if divisors := _divisors(gguf, config):
        frequencies = [f / d for f, d in zip(frequencies, divisors, strict=True)]
    magnitude = gguf.get_float(f"{arch}.rope.scaling.attn_factor", 1.0)
    factor = 1.0 if kind == "none" else _factor(gguf, arch)
    scaled = [frequency / factor for frequency in frequencies]
    if kind == "yarn":
        scaled = _yarn_mix(gguf, config, frequencies, scaled)
        magnitude *= _yarn_magnitude(gguf, arch, factor)
    return Rope(scaled, magnitude)


def trained_length(gguf: GGUFFile, config: ModelConfig) -> int:
    """Positions that the model was trained for before its context was extended."""
    key = f"{config.architecture}.rope.scaling.original_context_length"
    length = gguf.get_int(key, config.context_length)
    if length < 1:
        raise ModelFormatError(f"{key} is {length}; it must be 1 or more")
    return length


def _factor(gguf: GGUFFile, arch: str) -> float:
    old_factor = gguf.get_float(f"{arch}.rope.scale_linear", 0.0)
    factor = gguf.get_float(f"{arch}.rope.scaling.factor", old_factor) or 1.0
    if not factor > 0.0:
        raise ModelFormatError(f"{arch}.rope.scaling.factor is {factor}; it must be above 0")
    return factor


def _divisors(gguf: GGUFFile, config: ModelConfig) -> list[float] | None:
    """Of every frequency: Llama 3's, or LongRoPE's for a context longer or not than in training."""
    extends = config.context_size > trained_length(gguf, config)
    for name in ("rope_freqs.weight", f"rope_factors_{'long' if extends else 'short'}.weight"):
        if name in gguf.tensors:
            divisors = _float32_values(gguf, name, config.rope_dim // 2)
            if min(divisors) > 0.0:
                return divisors
            raise ModelFormatError(f"tensor {name!r} holds divisors that are not above 0")
    return None


def _yarn_mix(
    gguf: GGUFFile, config: ModelConfig, frequencies: list[float], scaled: list[float]
) -> list[float]:
    """Keeps the frequencies that turn often within the trained length, and scales the slow ones.

    Between `beta_fast` and `beta_slow` turns the two mix, in proportion to the pair's number.
    """
    arch, n_rot = config.architecture, config.rope_dim
    length = trained_length(gguf, config)
    log_base = math.log(config.rope_base)

    def pair_that_turns(name: str, default: float) -> float:
        turns = gguf.get_float(f"{arch}.rope.scaling.yarn_{name}", default)
        if not 0.0 < turns < math.inf or log_base == 0.0:
            raise ModelFormatError(f"{arch}.rope.scaling.yarn_{name} is {turns}, which cannot be")
        return n_rot * math.log(length / (turns * 2.0 * math.pi)) / (2.0 * log_base)

    first = max(0, math.floor(pair_that_turns("beta_fast", 32.0)))
    last = min(n_rot - 1, math.ceil(pair_that_turns("beta_slow", 1.0)))
    mixed = []
    for j, (own, slowed) in enumerate(zip(frequencies, scaled, strict=True)):
        share = min(1.0, max(0.0, (j - first) / max(0.001, last - first)))
        mixed.append(own * (1.0 - share) + slowed * share)
    return mixed


def _yarn_magnitude(gguf: GGUFFile, arch: str, factor: float) -> float:
    if factor <= 1.0:
        return 1.0
    # files for which attention is not to be sharpened say so with a multiplier of 1
    multiplier = gguf.get_float(f"{arch}.rope.scaling.yarn_log_multiplier", 0.0)
    divisor = 1.0 + 0.1 * multiplier * math.log(factor)
    if not divisor > 0.0:
        raise ModelFormatError(f"{arch}.rope.scaling.yarn_log_multiplier is {multiplier}")
    return (1.0 + 0.1 * math.log(factor)) / divisor


def _float32_values(gguf: GGUFFile, tensor: str, count: int) -> list[float]:
    info = gguf.tensors[tensor]
    if info.format != 0 or info.shape != (count,):
        raise ModelFormatError(f"tensor {tensor!r} must be {count} F32 values")
    return list(gguf.tensor_data(tensor).cast("B").cast("f"))
