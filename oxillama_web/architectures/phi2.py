"""Phi 1, 1.5 and 2: LayerNorm, attention and feed-forward side by side, part of each head rotates.

Li et al. 2023, https://arxiv.org/abs/2309.05463.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.operations import Plan, PlanBuilder
from .common import (
    TOKEN_EMBEDDING,
    attend,
    feed_forward,
    layer_norm,
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
    """The sizes and the plan of a Phi file up to Phi 2."""
    config = read_config(gguf, context_size)
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        layer_norm(plan, config, "h", "x", block + "attn_norm")
        project_qkv(plan, config, block, "h")
        rotate(plan, config, "rope", "neox")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        feed_forward(plan, block, "h", "gelu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    layer_norm(plan, config, "last", "last", "output_norm")
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
