"""Apertus: normalized Q and K, and xIELU, an activation that is trained.

Swiss AI Initiative 2025, https://arxiv.org/abs/2509.14233.
"""

import math

from ..errors import ModelFormatError
from ..plan.operations.elementwise import XIELU
from .model_builder import Layer, ModelBuilder

ARCHITECTURE = "apertus"


def build(model: ModelBuilder) -> None:
    """Append the operations of an Apertus file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("rms")
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.linear("ffn_up", "h", "up")
        _activate(layer, "up")
        layer.linear("ffn_down", "up", "delta")
        layer.add_residual()
    model.logits("rms")


def _activate(layer: Layer, buffer: str) -> None:
    """Apply the layer's xIELU; files state its parameters as they were trained, unbounded."""
    beta = _parameter(layer, "beta")
    XIELU.append(
        layer.plan,
        buffer,
        buffer,
        positive=_softplus(_parameter(layer, "alpha_p")),
        negative=beta + _softplus(_parameter(layer, "alpha_n")),
        linear=beta,
    )


def _parameter(layer: Layer, name: str) -> float:
    """One number for all layers, or one for each."""
    gguf, key = layer.model.hparams.gguf, f"xielu.{name}"
    if not isinstance(gguf.metadata.get(key), list):
        return gguf.get_float(key)
    values = gguf.get_array(key)
    if len(values) != layer.config.n_layers or not isinstance(values[layer.index], float):
        raise ModelFormatError(f"{key} must be one number, or one for each layer")
    return float(values[layer.index])


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
