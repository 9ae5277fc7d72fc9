"""Mistral 3: Llama whose queries grow with the position, beyond the length it was trained for.

Mistral AI 2025, https://huggingface.co/mistralai/Ministral-3-3B-Instruct-2512; the temperature of
attention is that of Llama 4, after Nakanishi 2025, https://arxiv.org/abs/2501.19399.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from ..plan.operations import Plan, PlanBuilder
from .common import (
    OUTPUT_NORM,
    TOKEN_EMBEDDING,
    attend,
    gated_feed_forward,
    output_head,
    project_qkv,
    read_config,
)
from .rope import scaled_rope, trained_length

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile


# Files ask for some 16 times the length of training.
MAX_RUNS = 4096


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Mistral 3 file."""
    config = read_config(gguf, context_size)
    eps = config.norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    _add_rope_tables(plan, gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        plan.rope("q", "rope_q", config.head_dim, "interleaved")
        plan.rope("k", "rope_k", config.head_dim, "interleaved")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")


def _add_rope_tables(plan: PlanBuilder, gguf: GGUFFile, config: ModelConfig) -> None:
    """The rotation of queries also multiplies them: by 1 + scale * log(1 + trained lengths before).

    Raises:
        ModelFormatError: heads rotate in part only, so that this would not reach all of a query.
    """
    if config.rope_dim != config.head_dim:
        raise ModelFormatError(
            f"mistral3.rope.dimension_count is {config.rope_dim}; it must be the head size, "
            f"{config.head_dim}"
        )
    rope, length = scaled_rope(gguf, config), trained_length(gguf, config)
    scale = gguf.get_float("mistral3.attention.temperature_scale", 0.0)
    n_runs = -(-config.context_size // length) if scale else 1
    if n_runs > MAX_RUNS:
        raise ModelFormatError(
            f"a context of {config.context_size} positions is {n_runs} times as long as in "
            f"training; at most {MAX_RUNS} can be"
        )
    temperatures = [1.0 + scale * math.log(1 + run) for run in range(n_runs)]
    queries = [rope.magnitude * temperature for temperature in temperatures]
    plan.rope_table("rope_q", rope.frequencies, queries, length)
    plan.rope_table("rope_k", rope.frequencies, (rope.magnitude,))
