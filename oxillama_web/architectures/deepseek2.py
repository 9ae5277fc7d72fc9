"""DeepSeek 2 and 3, and the models like them: latent attention, and experts chosen with a bias.

DeepSeek-AI 2024, https://arxiv.org/abs/2405.04434 and https://arxiv.org/abs/2412.19437.
"""

import math

from .deepseek import experts_or_feed_forward
from .latent import latent_attention, latent_sizes
from .mistral3 import position_temperatures
from .model_builder import ModelBuilder
from .rope import RopeParameters, scaled_rope
from .routing import read_routing

ARCHITECTURE = "deepseek2"


def build(model: ModelBuilder) -> None:
    """Append the operations of a DeepSeek 2 or 3 file."""
    build_latent(model)


def build_latent(model: ModelBuilder, yarn_factor: float | None = None) -> None:
    """Append the operations of a file like DeepSeek's.

    Args:
        yarn_factor: YaRN's `mscale`; None: the same as `mscale_all_dim`.
    """
    sizes = latent_sizes(model)
    routing = read_routing(model.hparams, gate="softmax")
    rope, scale_factor = _scaled_rope(model, yarn_factor)
    scale = scale_factor * (sizes.rotated + sizes.plain) ** -0.5
    temperature = _temperature(model)
    model.leave_out_prediction_layers()
    model.embed()
    model.rope_table(rope=rope)
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        latent_attention(layer, sizes, "interleaved", scale, temperature=temperature)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        experts_or_feed_forward(layer, routing)
        layer.add_residual()
    model.logits("rms")


def _scaled_rope(model: ModelBuilder, yarn_factor: float | None) -> tuple[RopeParameters, float]:
    """Return the rotation, and a factor of the scores: those of DeepSeek's own kind of YaRN.

    Files state a tenth of `mscale_all_dim`.
    """
    hparams = model.hparams
    rope = scaled_rope(hparams, model.config)
    if hparams.get_str("rope.scaling.type", "none") != "yarn":
        return rope, 1.0
    growth = math.log(max(hparams.get_float("rope.scaling.factor", 1.0), 1.0))
    multiplier = hparams.get_float("rope.scaling.yarn_log_multiplier", 0.0)
    of_rotation = 1.0 + 0.1 * growth
    if multiplier:
        of_mscale = multiplier if yarn_factor is None else 0.1 * yarn_factor
        of_rotation = (1.0 + of_mscale * growth) / (1.0 + multiplier * growth)
    of_rotation *= hparams.get_float("rope.scaling.attn_factor", 1.0)
    of_scores = of_rotation * (1.0 + multiplier * growth)
    return rope._replace(attention_factors=(of_rotation,)), of_scores * of_scores


def _temperature(model: ModelBuilder) -> tuple[tuple[float, ...], int] | None:
    """Return factors of the queries that grow with their position, as in Mistral 3."""
    scale = model.hparams.get_float("attention.temperature_scale", 0.0)
    if not scale:
        return None
    length = model.hparams.get_positive("attention.temperature_length")
    return position_temperatures(model.config, scale, length), length
