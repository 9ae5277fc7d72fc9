"""T5's encoder: positions are biases of the scores, one for each bucket of distances.

Raffel et al. 2019, https://arxiv.org/abs/1910.10683; with gates Shazeer 2020,
https://arxiv.org/abs/2002.05202. Scores are not scaled. All layers use the biases of the first one.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from ..errors import ModelFormatError, UnsupportedModelError
from ..gguf.types import GGMLType
from ..plan.operations.attention import PositionBias
from .model_builder import ModelBuilder

if TYPE_CHECKING:
    from .model_builder import Layer

ARCHITECTURE = "t5encoder"

# Of files; models with another one do not state it.
MAX_DISTANCE = 128


def build(model: ModelBuilder) -> None:
    """Append the operations of a file of T5's encoder."""
    bias = _position_bias(model, "enc.blk.0.attn_rel_b.weight")
    model.embed()
    for layer in model.layers():
        layer.prefix = f"enc.{layer.prefix}"
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.attention(scale=1.0, causal=False, position_bias=bias, project=False)
        layer.linear("attn_o", "attended", "delta")
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        _feed_forward(layer)
        layer.add_residual()
    model.rms_norm("enc.output_norm", "x", "x")
    model.hidden_states()


def _feed_forward(layer: Layer) -> None:
    """T5 has ReLU, T5 1.1 and later GELU and gates."""
    if layer.has("ffn_gate.weight"):
        layer.gated_feed_forward("gelu")
    else:
        layer.feed_forward("relu")


def _position_bias(model: ModelBuilder, tensor: str) -> PositionBias:
    n_buckets = model.hparams.get_positive("attention.relative_buckets_count")
    if n_buckets % 4 or n_buckets >= 4 * MAX_DISTANCE:
        raise ModelFormatError(
            f"{model.hparams.key('attention.relative_buckets_count')} is {n_buckets}; it must be a "
            f"multiple of 4 below {4 * MAX_DISTANCE}"
        )
    shape, expected = model.plan.whole_shape(tensor), (model.config.n_heads, n_buckets)
    if shape != expected:
        raise ModelFormatError(f"tensor {tensor!r} has shape {shape}; it must be {expected}")
    number = model.hparams.gguf.tensors[tensor].format
    if number not in (GGMLType.F32, GGMLType.F16, GGMLType.BF16):
        raise UnsupportedModelError(f"tensor {tensor!r} is quantized; it must be F32, F16 or BF16")
    model.plan.as_one_row(tensor)
    return PositionBias(tensor, distance_buckets(n_buckets))


def distance_buckets(n_buckets: int) -> tuple[float, ...]:
    """Return the bucket of a key by its distance from the query, -MAX_DISTANCE .. MAX_DISTANCE.

    Those beyond have the bucket of the last. The first half of the buckets is for keys before the
    query. Of each half one half is for single distances, the other for ranges that grow
    geometrically. Logarithms are rounded to float32, as when such models were trained.
    """
    half = n_buckets // 2
    n_exact = half // 2

    def bucket(distance: int) -> int:
        if distance < n_exact:
            return distance
        power = _float32(_float32(math.log(distance / n_exact)) * (half - n_exact))
        place = _float32(n_exact + power / math.log(MAX_DISTANCE / n_exact))
        return min(math.floor(place), half - 1)

    before = [float(bucket(distance)) for distance in range(MAX_DISTANCE, -1, -1)]
    after = [float(half + bucket(distance)) for distance in range(1, MAX_DISTANCE + 1)]
    return (*before, *after)


def _float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
