"""SmolLM3: Llama in which every fourth layer has no positions.

Bakouch et al. 2025, https://huggingface.co/blog/smollm3; such layers: Yang et al. 2025,
https://arxiv.org/abs/2501.18795.
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

NO_ROPE_PERIOD = 4


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a SmolLM3 file."""
    config = read_config(gguf, context_size)
    eps = config.norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        if (layer + 1) % NO_ROPE_PERIOD != 0:
            rotate(plan, config, "rope", "interleaved")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
