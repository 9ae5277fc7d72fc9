"""StarCoder 2: LayerNorm, rotary positions, grouped-query attention, GELU, biases everywhere.

Lozhkov et al. 2024, https://arxiv.org/abs/2402.19173.
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
    """The sizes and the plan of a StarCoder 2 file."""
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
        layer_norm(plan, config, "h", "x", block + "ffn_norm")
        feed_forward(plan, block, "h", "gelu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    layer_norm(plan, config, "last", "last", "output_norm")
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
