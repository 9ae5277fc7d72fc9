"""Gemma 3n: four streams of residuals, of which each layer computes one and predicts the others.

Google 2025, https://ai.google.dev/gemma/docs/gemma-3n. Alternating updates: Baykal et al. 2023,
https://arxiv.org/abs/2301.13310. A product of two narrow matrices stands beside attention (learned
augmented residuals: Menghani et al. 2024, https://arxiv.org/abs/2411.07501). The last layers share
keys and values, and the feed-forward networks of the first ones are sparse.
"""

import math

from ..errors import ModelFormatError, UnsupportedModelError
from ..plan.operations.elementwise import Add, MultiplyVector, Scale, Softcap, TakeColumns
from ..plan.operations.streams import KeepLargest, MatchLength, MixStreams, PutColumns
from .gemma4 import cache_of, count_shared_kv_layers
from .model_builder import Layer, ModelBuilder
from .per_layer_embeddings import PerLayerEmbeddings
from .rope import unscaled_rope

ARCHITECTURE = "gemma3n"

GLOBAL_LAYER_PERIOD = 5
LOCAL_ROPE_BASE = 10000.0
MAX_STREAMS = 16
# where a file does not say: layers with keys and values of their own, and sparse layers, whose
# gates keep what is above the 95th percentile of a normal distribution
N_STORED_LAYERS, N_SPARSE_LAYERS, N_DEVIATIONS = 20, 10, 1.6448533535003662


def build(model: ModelBuilder) -> None:
    """Append the operations of a Gemma 3n file."""
    model.require_sliding_window()
    if model.hparams.get_int("altup.active_idx", 0):
        raise UnsupportedModelError("the first of Gemma 3n's streams must be the active one")
    model.hparams.get_positive("embedding_length_per_layer_input")
    n_layers, width = model.config.n_layers, model.config.hidden_size
    n_stored = n_layers - count_shared_kv_layers(model, max(0, n_layers - N_STORED_LAYERS))
    deviations = _deviations(model)
    local_base = model.hparams.get_float("rope.freq_base_swa", LOCAL_ROPE_BASE)
    model.rope_table("rope_local", unscaled_rope(model.config.rope_dim, local_base))
    model.rope_table("rope_global")
    model.embed(scale=width**0.5)
    per_layer = PerLayerEmbeddings(model)
    n_streams = _spread(model)
    stored: dict[bool, int] = {}
    for layer in model.layers():
        _predict(layer)
        layer.rms_norm("attn_norm", "active", "h")
        _laurel(layer)
        _attention(layer, stored, layer.index < n_stored)
        layer.rms_norm("post_attention_norm", "delta")
        Add.append(layer.plan, "x", "active", "h")
        Add.append(layer.plan, "x", "x", "laurel")
        Scale.append(layer.plan, "x", "x", 0.5**0.5)
        layer.rms_norm("ffn_norm")
        _feed_forward(layer, deviations[layer.index])
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
        _correct(layer, per_layer, n_streams)
    _merge(model, n_streams)
    model.logits("rms", softcap=model.hparams.get_float("final_logit_softcapping"))


def _deviations(model: ModelBuilder) -> list[float]:
    """Return how many standard deviations above the mean a layer's gates begin; -inf: all pass."""
    name, n_layers = "activation_sparsity_scale", model.config.n_layers
    values = model.hparams.get_layer_array(name, n_layers)
    if values is None:
        return [N_DEVIATIONS if i < N_SPARSE_LAYERS else -math.inf for i in range(n_layers)]
    if not all(isinstance(value, float) and value < math.inf for value in values):
        raise ModelFormatError(
            f"{model.hparams.key(name)} must hold a finite number for each layer"
        )
    return values


def _take(layer: Layer | ModelBuilder, dst: str, src: str, stream: int) -> None:
    width = layer.config.hidden_size
    group = layer.plan.width(src)
    TakeColumns.append(layer.plan, dst, src, group=group, start=stream * width, count=width)


def _spread(model: ModelBuilder) -> int:
    """Make the streams from "x": itself, and projections of it of the same length.

    Returns:
        how many there are.
    """
    plan, width = model.plan, model.config.hidden_size
    n_more = plan.whole_shape("altup_proj.weight")[-1]
    if not 0 < n_more <= MAX_STREAMS:
        raise ModelFormatError(f"tensor 'altup_proj.weight' holds {n_more} matrices")
    for name in ("altup_proj", "altup_unembd_proj"):
        parts = {f"{name}.{i}.weight": 1 for i in range(n_more)}
        plan.split_rows(f"{name}.weight", parts)
    PutColumns.append(plan, "streams", "x", 0, (n_more + 1) * width)
    for i in range(n_more):
        model.linear(f"altup_proj.{i}", "x", "stream")
        MatchLength.append(plan, "stream", "stream", "x")
        PutColumns.append(plan, "streams", "stream", (i + 1) * width, (n_more + 1) * width)
    return n_more + 1


def _merge(model: ModelBuilder, n_streams: int) -> None:
    """Average the streams into "x", all but the first projected."""
    plan = model.plan
    _take(model, "x", "streams", 0)
    _take(model, "active", "streams", 0)
    for i in range(n_streams - 1):
        _take(model, "stream", "streams", i + 1)
        model.linear(f"altup_unembd_proj.{i}", "stream", "projected_stream")
        MatchLength.append(plan, "projected_stream", "projected_stream", "active")
        Add.append(plan, "x", "x", "projected_stream")
    Scale.append(plan, "x", "x", 1.0 / n_streams)


def _route(layer: Layer, src: str, coefficients: str) -> None:
    """Compute a token's coefficients of the streams, into "coefficients"."""
    layer.rms_norm("altup_router_norm", src, "router_input")
    Scale.append(layer.plan, "router_input", "router_input", 1.0 / layer.config.hidden_size)
    layer.linear("altup_router", "router_input", "modalities")
    Softcap.append(layer.plan, "modalities", "modalities", 1.0)  # a tanh
    layer.linear(coefficients, "modalities", "coefficients")


def _predict(layer: Layer) -> None:
    """Predict all streams, into "predictions", and take the "active" one."""
    _take(layer, "active", "streams", 0)
    _route(layer, "active", "altup_predict_coef")
    width = layer.config.hidden_size
    mixed = ("predictions", "streams", "streams", "coefficients", width)
    MixStreams.append(layer.plan, *mixed)
    _take(layer, "active", "predictions", 0)


def _laurel(layer: Layer) -> None:
    """Compute h + norm(right(left(h))), into "laurel"."""
    layer.linear("laurel_l", "h", "laurel_rank")
    layer.linear("laurel_r", "laurel_rank", "laurel")
    layer.rms_norm("laurel_post_norm", "laurel", "laurel")
    Add.append(layer.plan, "laurel", "laurel", "h")


def _attention(layer: Layer, stored: dict[bool, int], has_own: bool) -> None:
    """Attend over keys and values of the layer's own, or over those of an earlier layer."""
    window = layer.window(GLOBAL_LAYER_PERIOD)
    table = "rope_local" if window else "rope_global"
    layer.qkv()
    layer.qk_norms("rms")
    if has_own:
        layer.unweighted_norm("rms", "v", "v", group=layer.config.head_dim)
        layer.rope("neox", table)
        stored[window > 0] = layer.attention(scale=1.0, window=window)
    else:
        layer.rope("neox", table, ["q"])
        layer.attention_over(cache_of(stored, window), scale=1.0, window=window)


def _feed_forward(layer: Layer, n_deviations: float) -> None:
    """Compute down(GELU(gate(h)) * up(h)) into "delta", the gate sparse or not."""
    layer.linear("ffn_gate", "h", "gate")
    layer.linear("ffn_up", "h", "up")
    if n_deviations > -math.inf:
        KeepLargest.append(layer.plan, "gate", "gate", n_deviations)
    layer.glu("gate", "gate", "up", "gelu")
    layer.linear("ffn_down", "gate", "delta")


def _correct(layer: Layer, per_layer: PerLayerEmbeddings, n_streams: int) -> None:
    """Correct the predictions by what the layer computed, "x", and add the token's vector."""
    plan, width = layer.plan, layer.config.hidden_size
    _route(layer, "x", "altup_correct_coef")
    Add.append(plan, "innovation", "x", "active", -1.0)
    mixed = ("streams", "predictions", "innovation", "coefficients", width)
    MixStreams.append(plan, *mixed, offset=1.0)
    _take(layer, "active", "streams", 0)
    MultiplyVector.append(plan, "active", "active", f"{layer.prefix}altup_correct_scale.weight")
    per_layer.project(layer, "active")
    for stream in range(1, n_streams):
        PutColumns.append(plan, "streams", "delta", stream * width, n_streams * width, add=True)
