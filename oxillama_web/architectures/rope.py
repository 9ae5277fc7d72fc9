"""Rotary frequencies, scaled as a model's metadata asks for contexts longer than its training.

NTK-aware scaling by a fixed factor needs no code: it is another base, which files state. Llama 3's
scaling and LongRoPE are tensors of frequency factors, which divide the frequencies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ModelFormatError, UnsupportedModelError
from ..gguf.types import GGMLType
from .hyperparameters import trained_length

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile
    from .hyperparameters import Hyperparameters

_KINDS = ("none", "linear", "dynamic", "yarn", "longrope")


class RopeParameters(NamedTuple):
    """What a table of cosines and sines is computed from.

    Attributes:
        frequencies: in radians a position, one for each pair.
        attention_factors: each multiplies the cosines and sines of `interval` positions; the last
            one is that of all positions after those.
        interval: in positions.
    """

    frequencies: list[float]
    attention_factors: tuple[float, ...] = (1.0,)
    interval: int = 1


def unscaled_rope(n_rot: int, base: float) -> RopeParameters:
    """Return the frequencies base^(-2j/n). Su et al. 2021, https://arxiv.org/abs/2104.09864.

    Raises:
        ModelFormatError: the base is not above 0.
    """
    if not base > 0.0:
        raise ModelFormatError(f"the rotary base is {base}; it must be above 0")
    return RopeParameters([base ** (-2.0 * j / n_rot) for j in range(n_rot // 2)])


def has_sections(hparams: Hyperparameters, *, required: bool = False) -> bool:
    """Return whether the pairs of a head are divided between a text's and an image's positions.

    For text all sections have the position of the token, so that their sizes do not matter.
    Bai et al. 2025, https://arxiv.org/abs/2502.13923.

    Raises:
        ModelFormatError: the file states no sizes and they are required.
        UnsupportedModelError: there is a fourth section, which text has no positions for.
    """
    name = "rope.dimension_sections"
    if not required and not hparams.has(name):
        return False
    sections = hparams.gguf.get_array(hparams.key(name))
    if len(sections) > 3 and sections[3]:
        raise UnsupportedModelError(
            f"{hparams.key(name)} is {sections}; a fourth section is not supported"
        )
    return any(sections[:3])


def scaled_rope(hparams: Hyperparameters, config: ModelConfig) -> RopeParameters:
    """Return the model's frequencies, scaled as its metadata and tensors say.

    Linear scaling: Chen et al. 2023, https://arxiv.org/abs/2306.15595. YaRN: Peng et al. 2023,
    https://arxiv.org/abs/2309.00071. LongRoPE: Ding et al. 2024, https://arxiv.org/abs/2402.13753.
    Dynamic NTK: see `_dynamic_base`.

    Raises:
        ModelFormatError: a number or tensor does not fit.
        UnsupportedModelError: the kind of scaling is unknown.
    """
    kind = hparams.get_str("rope.scaling.type", "linear")
    if kind not in _KINDS:
        raise UnsupportedModelError(
            f"rotary scaling {kind!r} is not supported; these are: {', '.join(_KINDS)}"
        )
    base = _dynamic_base(hparams, config) if kind == "dynamic" else config.rope_base
    frequencies = unscaled_rope(config.rope_dim, base).frequencies
    if factors := _frequency_factors(hparams, config):
        frequencies = [f / factor for f, factor in zip(frequencies, factors, strict=True)]
    attention_factor = hparams.get_float("rope.scaling.attn_factor", 1.0)
    factor = 1.0 if kind in ("none", "dynamic") else _scaling_factor(hparams)
    scaled = [frequency / factor for frequency in frequencies]
    if kind == "yarn":
        scaled = _yarn_frequencies(hparams, config, frequencies, scaled)
        attention_factor *= _yarn_attention_factor(hparams, factor)
    return RopeParameters(scaled, (attention_factor,))


def _dynamic_base(hparams: Hyperparameters, config: ModelConfig) -> float:
    """Return the base of dynamic NTK scaling for the context that the model is loaded for.

    Hugging Face transformers, modeling_rope_utils.py: base * (s * n / n0 - (s - 1)) ^ (d / (d - 2))
    for a sequence of n positions, beyond the n0 of training. There n grows with the sequence; here
    it is the context size, so that cached keys stay right and the same text has the same logits.
    """
    growth = max(1.0, config.context_size / trained_length(hparams, config))
    factor, n_rot = _scaling_factor(hparams), config.rope_dim
    if growth == 1.0 or n_rot == 2:
        return config.rope_base
    exponent = n_rot / (n_rot - 2)
    return config.rope_base * math.pow(factor * growth - (factor - 1.0), exponent)


def _scaling_factor(hparams: Hyperparameters) -> float:
    old_factor = hparams.get_float("rope.scale_linear", 0.0)
    factor = hparams.get_float("rope.scaling.factor", old_factor) or 1.0
    if not factor > 0.0:
        raise ModelFormatError(
            f"{hparams.key('rope.scaling.factor')} is {factor}; it must be above 0"
        )
    return factor


def _frequency_factors(hparams: Hyperparameters, config: ModelConfig) -> list[float] | None:
    """Return Llama 3's factors, or LongRoPE's for a context longer than in training or not."""
    is_longer = config.context_size > trained_length(hparams, config)
    for name in ("rope_freqs.weight", f"rope_factors_{'long' if is_longer else 'short'}.weight"):
        if name in hparams.gguf.tensors:
            factors = _f32_values(hparams.gguf, name, config.rope_dim // 2)
            if min(factors) > 0.0:
                return factors
            raise ModelFormatError(f"tensor {name!r} holds frequency factors that are not above 0")
    return None


def _yarn_frequencies(
    hparams: Hyperparameters, config: ModelConfig, original: list[float], scaled: list[float]
) -> list[float]:
    """Keep the frequencies that turn often within the trained length, and scale the slow ones.

    Between `beta_fast` and `beta_slow` turns the two mix, in proportion to the pair's number.
    """
    n_rot, length = config.rope_dim, trained_length(hparams, config)
    log_base = math.log(config.rope_base)

    def pair_that_turns(name: str, default: float) -> float:
        turns = hparams.get_float(f"rope.scaling.yarn_{name}", default)
        if not 0.0 < turns < math.inf or log_base == 0.0:
            key = hparams.key(f"rope.scaling.yarn_{name}")
            raise ModelFormatError(f"{key} is {turns}, which cannot be")
        return n_rot * math.log(length / (turns * 2.0 * math.pi)) / (2.0 * log_base)

    first = max(0, math.floor(pair_that_turns("beta_fast", 32.0)))
    last = min(n_rot - 1, math.ceil(pair_that_turns("beta_slow", 1.0)))
    mixed = []
    for j, (fast, slow) in enumerate(zip(original, scaled, strict=True)):
        share = min(1.0, max(0.0, (j - first) / max(0.001, last - first)))
        mixed.append(fast * (1.0 - share) + slow * share)
    return mixed


def _yarn_attention_factor(hparams: Hyperparameters, factor: float) -> float:
    if factor <= 1.0:
        return 1.0
    # a multiplier of 1 leaves attention as it is
    multiplier = hparams.get_float("rope.scaling.yarn_log_multiplier", 0.0)
    divisor = 1.0 + 0.1 * multiplier * math.log(factor)
    if not divisor > 0.0:
        raise ModelFormatError(f"{hparams.key('rope.scaling.yarn_log_multiplier')} is {multiplier}")
    return (1.0 + 0.1 * math.log(factor)) / divisor


def _f32_values(gguf: GGUFFile, tensor: str, count: int) -> list[float]:
    info = gguf.tensors[tensor]
    if info.format != GGMLType.F32 or info.shape != (count,):
        raise ModelFormatError(f"tensor {tensor!r} must be {count} F32 values")
    return list(gguf.tensor_data(tensor).cast("B").cast("f"))
