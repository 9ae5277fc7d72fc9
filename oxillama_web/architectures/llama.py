"""Llama: RMSNorm, rotary positions on adjacent pairs, grouped-query attention, SwiGLU.

Touvron et al. 2023, https://arxiv.org/abs/2307.09288. Mistral's files are of this family too, with
a sliding window where they state one (Jiang et al. 2023, https://arxiv.org/abs/2310.06825). The
GGUF converter permutes Q and K of this family so that the pairs that rotate together lie side by
side.
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
from .experts import count_experts, mixture_of_experts
from .rope import add_rope_table

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Llama-family file."""
    config = read_config(gguf, context_size)
    _, n_experts_used = count_experts(gguf)
    eps = config.norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        rotate(plan, config, "rope", "interleaved")
        attend(plan, config, block, window=config.sliding_window)
        plan.add("x", "x", "delta")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        if n_experts_used:
            mixture_of_experts(plan, "delta", "h", block, n_experts_used, "softmax_of_used")
        else:
            gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
