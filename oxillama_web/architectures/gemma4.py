"""Gemma 4: Gemma 3 with two sizes of heads, shared keys and values, and embeddings per layer.

Gemma Team 2026, https://ai.google.dev/gemma/docs/core. Layers that see the whole context have
larger heads than those with a sliding window, and rotate with frequencies of their own. The last
layers attend over the keys and values of the last layer of their kind before them. Each layer may
add a vector that depends on the token, and experts may stand beside the feed-forward network.
"""

from ..errors import ModelFormatError
from ..plan.operations.elementwise import Add, MultiplyVector, Scale
from ..plan.operations.norms import RMSNorm
from .model_builder import Layer, ModelBuilder
from .per_layer_embeddings import PerLayerEmbeddings
from .rope import unscaled_rope

ARCHITECTURE = "gemma4"

LOCAL_ROPE_BASE = 10000.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a Gemma 4 file."""
    has_window = _read_heads(model)
    n_stored = model.config.n_layers - count_shared_kv_layers(model, default=0)
    model.embed(scale=model.config.hidden_size**0.5)
    per_layer = PerLayerEmbeddings(model)
    stored: dict[bool, int] = {}
    for layer in model.layers():
        window = layer.config.sliding_window if has_window[layer.index] else 0
        table = "rope_local" if window else "rope_global"
        layer.rms_norm("attn_norm")
        layer.linear("attn_q", "h", "q")
        layer.rms_norm("attn_q_norm", "q", "q")
        if layer.index < n_stored:
            _keys_and_values(layer)
            layer.rope("neox", table)
            stored[window > 0] = layer.attention(scale=1.0, window=window)
        else:
            layer.rope("neox", table, ["q"])
            layer.attention_over(cache_of(stored, window), scale=1.0, window=window)
        layer.rms_norm("post_attention_norm", "delta")
        layer.add_residual("h")
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("gelu")
        if layer.has("ffn_gate_inp.weight"):
            _add_experts(layer)
        layer.rms_norm("post_ffw_norm", "delta")
        layer.add_residual("h")
        if per_layer.width:
            per_layer.project(layer, "x")
            layer.add_residual()
        if layer.has("layer_output_scale.weight"):
            MultiplyVector.append(model.plan, "x", "x", f"{layer.prefix}layer_output_scale.weight")
    model.logits("rms", softcap=model.hparams.get_float("final_logit_softcapping", 0.0))


def count_shared_kv_layers(model: ModelBuilder, default: int) -> int:
    """Return how many of the last layers attend over keys and values of earlier ones."""
    n_shared = model.hparams.get_int("attention.shared_kv_layers", default)
    if not 0 <= n_shared < model.config.n_layers:
        key = model.hparams.key("attention.shared_kv_layers")
        raise ModelFormatError(f"{key} is {n_shared} of {model.config.n_layers} layers")
    return n_shared


def cache_of(stored: dict[bool, int], window: int) -> int:
    """Return the layer of the cache for a layer that stores nothing.

    Args:
        stored: the last layer with a window, and the last without.
    """
    if (window > 0) not in stored:
        raise ModelFormatError("no earlier layer has keys and values that a later one could share")
    return stored[window > 0]


def _read_heads(model: ModelBuilder) -> list[bool]:
    """Read the sizes of both kinds of heads, and return which layers have a sliding window."""
    model.require_sliding_window()
    hparams, config = model.hparams, model.config
    name = "attention.sliding_window_pattern"
    pattern = hparams.get_layer_array(name, config.n_layers)
    if pattern is None:
        raise ModelFormatError(f"{hparams.key(name)} must say of each layer if it has a window")
    has_window = [bool(entry) for entry in pattern]
    for suffix in ("", "_swa"):
        key, value = f"attention.key_length{suffix}", f"attention.value_length{suffix}"
        if hparams.get_int(key) != hparams.get_int(value):
            raise ModelFormatError(f"{hparams.key(key)} and {hparams.key(value)} differ")
    local_dim = hparams.get_positive("attention.key_length_swa")
    n_rot = hparams.get_positive("rope.dimension_count_swa", config.rope_dim)
    if n_rot > local_dim or n_rot % 2:
        raise ModelFormatError(
            f"{hparams.key('rope.dimension_count_swa')} is {n_rot}; it must be even and at most "
            f"the head size, {local_dim}"
        )
    base = hparams.get_float("rope.freq_base_swa", LOCAL_ROPE_BASE)
    model.rope_table("rope_local", unscaled_rope(n_rot, base))
    model.rope_table("rope_global")
    model.override(head_dim=[local_dim if w else config.head_dim for w in has_window])
    return has_window


def _keys_and_values(layer: Layer) -> None:
    """Project and normalize "k" and "v"; values are the keys before their norm if they must."""
    layer.linear("attn_k", "h", "k")
    has_values = layer.has("attn_v.weight")
    if has_values:
        layer.linear("attn_v", "h", "v")
    layer.unweighted_norm("rms", "v" if has_values else "k", "v", group=layer.config.head_dim)
    layer.rms_norm("attn_k_norm", "k", "k")


def _add_experts(layer: Layer) -> None:
    """Add the experts' result to that of the feed-forward network, in "delta"."""
    plan = layer.plan
    layer.rms_norm("post_ffw_norm_1", "delta", "mlp")
    layer.rms_norm("pre_ffw_norm_2")
    scale = f"{layer.prefix}ffn_gate_inp.scale"
    RMSNorm.append(plan, "router_input", "x", scale, layer.config.norm_eps)
    Scale.append(plan, "router_input", "router_input", layer.config.hidden_size**-0.5)
    layer.linear("ffn_gate_inp", "router_input", "router")
    layer.mixture_of_experts("softmax_of_used", router="router", activation="gelu")
    layer.rms_norm("post_ffw_norm_2", "delta", "delta")
    Add.append(plan, "delta", "delta", "mlp")
