"""Gemma: Llama with scaled embeddings, GeGLU, and halves that rotate.

Gemma Team 2024, https://arxiv.org/abs/2403.08295. The GGUF converter has already added the 1 that
Gemma adds to its norm weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.operations import Plan, PlanBuilder
from .common import (
    OUTPUT_NORM,
    TOKEN_EMBEDDING,
    attend,
    gated_feed_forward,
    output_head,
    project_qkv,
    read_config,
    rotate,
)
from .rope import add_rope_table

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Gemma file of the first generation."""
    config = read_config(gguf, context_size)
    eps = config.norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING, scale=config.hidden_size**0.5)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        rotate(plan, config, "rope", "neox")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        gated_feed_forward(plan, config, block, "h", "gelu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
