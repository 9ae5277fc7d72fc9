"""BERT and Nomic's BERT: encoders, whose tokens see their whole text and which give no logits.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805: learned positions, GELU, a LayerNorm behind
every residual sum. Nussbaum et al. 2024, https://arxiv.org/abs/2402.01613: rotary positions and
SwiGLU instead, and no biases in the matrix products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.operations import Plan, PlanBuilder
from .common import (
    TOKEN_EMBEDDING,
    add_learned_positions,
    attend,
    feed_forward,
    gated_feed_forward,
    layer_norm,
    project_qkv,
    read_config,
    rotate,
)
from .rope import add_rope_table

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile

TOKEN_TYPES = "token_types.weight"


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a BERT or Nomic-BERT file.

    Raises:
        InvalidRequestError: the context is to be longer than the positions that were learned.
    """
    config = read_config(gguf, context_size)
    is_nomic = config.architecture == "nomic-bert"
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    _add_token_type(plan, gguf)
    if is_nomic:
        add_rope_table(plan, "rope", gguf, config)
    else:
        add_learned_positions(plan, gguf, config)
    layer_norm(plan, config, "x", "x", "token_embd_norm")
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        project_qkv(plan, config, block, "x")
        if is_nomic:
            rotate(plan, config, "rope", "neox")
        attend(plan, config, block, causal=False)
        plan.add("x", "x", "delta")
        layer_norm(plan, config, "x", "x", block + "attn_output_norm")
        if is_nomic:
            gated_feed_forward(plan, config, block, "x", "silu")
        else:
            feed_forward(plan, block, "x", "gelu")
        plan.add("x", "x", "delta")
        layer_norm(plan, config, "x", "x", block + "layer_output_norm")
    plan.select_rows("hidden", "x")
    return config, plan.build_encoder("hidden")


def _add_token_type(plan: PlanBuilder, gguf: GGUFFile) -> None:
    """All tokens are of the first type: there is one text, not a pair."""
    if not plan.has(TOKEN_TYPES):
        return
    n_types = gguf.tensors[TOKEN_TYPES].shape[-1]
    plan.split_rows(TOKEN_TYPES, {f"token_types.{n}.weight": 1 for n in range(n_types)})
    plan.add_bias("x", "x", "token_types.0.weight")
