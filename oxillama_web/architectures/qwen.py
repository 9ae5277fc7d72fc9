"""Qwen 2 and 3: Llama with halves that rotate; biases of Q, K and V in 2, normalized Q and K in 3.
Both also come as mixtures of experts; in 2 with one more that every token uses.

Qwen Team 2024, https://arxiv.org/abs/2407.10671; 2025, https://arxiv.org/abs/2505.09388.
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
from .experts import add_shared_expert, count_experts, mixture_of_experts
from .rope import add_rope_table

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile
    from ..plan.operations import ExpertWeighting


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Qwen 2 or Qwen 3 file."""
    config = read_config(gguf, context_size)
    _, n_experts_used = count_experts(gguf)
    weighting: ExpertWeighting = "softmax_of_used"
    if config.architecture == "qwen2moe":
        weighting = "softmax_of_all"
    eps = config.norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        if config.architecture in ("qwen3", "qwen3moe"):
            plan.rms_norm("q", "q", block + "attn_q_norm.weight", eps)
            plan.rms_norm("k", "k", block + "attn_k_norm.weight", eps)
        rotate(plan, config, "rope", "neox")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        if n_experts_used:
            mixture_of_experts(plan, "delta", "h", block, n_experts_used, weighting)
            if config.architecture == "qwen2moe":
                add_shared_expert(plan, "delta", "h", block)
        else:
            gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
