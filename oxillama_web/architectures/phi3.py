"""Phi 3 and 4: Llama with merged matrices, halves that rotate, and LongRoPE for long contexts.

Abdin et al. 2024, https://arxiv.org/abs/2404.14219. The sliding window that some files state is
left out, as in llama.cpp: it is a remnant of training, and the models do better without it.
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
    """The sizes and the plan of a Phi 3 or Phi 4 file."""
    config = read_config(gguf, context_size)
    eps = config.norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        rotate(plan, config, "rope", "neox")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
