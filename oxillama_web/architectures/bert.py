"""BERT: an encoder, whose tokens see their whole text, and which gives no logits.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805: learned positions, GELU, a LayerNorm after
every residual sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.operations.elementwise import Add, AddBias, Scale
from .model_builder import ModelBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model_builder import Layer

ARCHITECTURE = "bert"

TOKEN_TYPES = "token_types.weight"


def build(model: ModelBuilder) -> None:
    """Append the operations of a BERT file."""
    model.embed()
    add_token_type(model)
    model.learned_positions()
    append_layers(model, plain_feed_forward)
    model.hidden_states()


def append_layers(
    model: ModelBuilder,
    feed_forward: Callable[[Layer], None],
    *,
    is_rotary: bool = False,
    max_alibi_bias: float = 0.0,
) -> None:
    """Append all layers, and the norm before them.

    Args:
        feed_forward: appends that of a layer, from "x" to "delta".
        is_rotary: whether queries and keys rotate by their positions.
        max_alibi_bias: if above 0, scores fall with the distance, by ALiBi.
    """
    if is_rotary:
        model.rope_table()
    model.layer_norm("token_embd_norm", "x", "x")
    for layer in model.layers():
        has_second_norm = layer.has("attn_norm_2.weight")
        if has_second_norm:
            Scale.append(model.plan, "layer_input", "x", 1.0)
        layer.qkv("x")
        layer.qk_norms("layer", optional=True)
        if is_rotary:
            layer.rope("neox")
        layer.attention(causal=False, max_alibi_bias=max_alibi_bias)
        layer.add_residual()
        layer.layer_norm("attn_output_norm", "x", "x")
        if has_second_norm:
            Add.append(model.plan, "x", "x", "layer_input")
            layer.layer_norm("attn_norm_2", "x", "x")
        feed_forward(layer)
        layer.add_residual()
        layer.layer_norm("layer_output_norm", "x", "x")


def plain_feed_forward(layer: Layer) -> None:
    """Append BERT's own."""
    layer.feed_forward("gelu", "x")


def add_token_type(model: ModelBuilder) -> None:
    """Add the embedding of the first token type to all tokens, as llama.cpp does.

    A reranker's document is of the first type too.
    """
    if not model.has(TOKEN_TYPES):
        return
    n_types = model.hparams.gguf.tensors[TOKEN_TYPES].shape[-1]
    model.plan.split_rows(TOKEN_TYPES, {f"token_types.{n}.weight": 1 for n in range(n_types)})
    AddBias.append(model.plan, "x", "x", "token_types.0.weight")
