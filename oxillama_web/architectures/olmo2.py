"""OLMo 2 and 3: norms behind attention and feed-forward, not before; Q and K normalized whole.

OLMo Team 2025, https://arxiv.org/abs/2501.00656. OLMo 3, of the same architecture name, has a
sliding window in three of four layers; those rotate unscaled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.operations import Plan, PlanBuilder
from .common import (
    OUTPUT_NORM,
    TOKEN_EMBEDDING,
    attend,
    gated_feed_forward,
    layer_window,
    output_head,
    project_qkv,
    read_config,
    rotate,
)
from .rope import add_rope_table, plain_frequencies

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile

GLOBAL_LAYER_PERIOD = 4


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of an OLMo 2 or OLMo 3 file."""
    config = read_config(gguf, context_size)
    eps = config.norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope_global", gguf, config)
    if config.sliding_window:
        plan.rope_table("rope_local", plain_frequencies(config.rope_dim, config.rope_base))
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        window = layer_window(gguf, config, layer, GLOBAL_LAYER_PERIOD)
        project_qkv(plan, config, block, "x")
        plan.rms_norm("q", "q", block + "attn_q_norm.weight", eps)
        plan.rms_norm("k", "k", block + "attn_k_norm.weight", eps)
        rotate(plan, config, "rope_local" if window else "rope_global", "neox")
        attend(plan, config, block, window=window)
        plan.rms_norm("h", "delta", block + "post_attention_norm.weight", eps)
        plan.add("x", "x", "h")
        gated_feed_forward(plan, config, block, "x", "silu")
        plan.rms_norm("h", "delta", block + "post_ffw_norm.weight", eps)
        plan.add("x", "x", "h")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
