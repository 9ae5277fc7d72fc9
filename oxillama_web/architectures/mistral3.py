"""Mistral 3: Llama whose queries grow with their position beyond the length of training.

Mistral AI 2025, https://huggingface.co/mistralai/Ministral-3-3B-Instruct-2512; the temperature of
attention is that of Llama 4, after Nakanishi 2025, https://arxiv.org/abs/2501.19399.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from .hyperparameters import trained_length
from .model_builder import ModelBuilder
from .rope import scaled_rope

if TYPE_CHECKING:
    from ..config import ModelConfig

ARCHITECTURE = "mistral3"

# Files ask for some 16 times the length of training.
MAX_INTERVALS = 4096


def build(model: ModelBuilder) -> None:
    """Append the operations of a Mistral 3 file."""
    model.embed()
    _rope_tables(model)
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved", "rope_q", ["q"])
        layer.rope("interleaved", "rope_k", ["k"])
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")


def position_temperatures(config: ModelConfig, scale: float, length: int) -> tuple[float, ...]:
    """Return 1 + scale * log(1 + n) for each n-th interval of `length` positions.

    Raises:
        ModelFormatError: there would be too many.
    """
    n_intervals = -(-config.context_size // length)
    if n_intervals > MAX_INTERVALS:
        raise ModelFormatError(
            f"a context of {config.context_size} positions is {n_intervals} times as long as in "
            f"training; at most {MAX_INTERVALS} can be"
        )
    return tuple(1.0 + scale * math.log(1 + n) for n in range(n_intervals))


def _rope_tables(model: ModelBuilder) -> None:
    """Let the rotation of queries also multiply them by their temperature.

    It is 1 + scale * log(1 + n), with n the number of whole trained lengths before the position.

    Raises:
        ModelFormatError: heads rotate in part only, so that the temperature would not reach all of
            a query.
    """
    config = model.config
    if config.rope_dim != config.head_dim:
        raise ModelFormatError(
            f"mistral3.rope.dimension_count is {config.rope_dim}; it must be the head size, "
            f"{config.head_dim}"
        )
    rope, length = scaled_rope(model.hparams, config), trained_length(model.hparams, config)
    scale = model.hparams.get_float("attention.temperature_scale", 0.0)
    temperatures = position_temperatures(config, scale, length) if scale else (1.0,)
    factors = tuple(rope.attention_factors[0] * temperature for temperature in temperatures)
    model.rope_table("rope_q", rope._replace(attention_factors=factors, interval=length))
    model.rope_table("rope_k", rope)
