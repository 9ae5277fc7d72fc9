"""Gemma 2: Gemma with norms behind each block too, bounded scores and logits, and sliding windows.

Every other layer has one. Gemma Team 2024, https://arxiv.org/abs/2408.00118. The GGUF converter has
already added the 1 that Gemma adds to its norm weights.
"""

from __future__ import annotations

from dataclasses import replace
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
from .rope import add_rope_table

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile

# What Gemma 2 was published with; its first files do not state it.
DEFAULT_WINDOW = 4096
DEFAULT_SCORE_CAP = 50.0
DEFAULT_LOGIT_CAP = 30.0
GLOBAL_LAYER_PERIOD = 2


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Gemma 2 file."""
    config = read_config(gguf, context_size)
    config = replace(config, sliding_window=config.sliding_window or DEFAULT_WINDOW)
    eps = config.norm_eps
    score_cap = gguf.get_float("gemma2.attn_logit_softcapping", DEFAULT_SCORE_CAP)
    logit_cap = gguf.get_float("gemma2.final_logit_softcapping", DEFAULT_LOGIT_CAP)
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING, scale=config.hidden_size**0.5)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        rotate(plan, config, "rope", "neox")
        attend(
            plan,
            config,
            block,
            scale=_attention_scale(config),
            window=layer_window(gguf, config, layer, GLOBAL_LAYER_PERIOD),
            softcap=score_cap,
        )
        plan.rms_norm("h", "delta", block + "post_attention_norm.weight", eps)
        plan.add("x", "x", "h")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        gated_feed_forward(plan, config, block, "h", "gelu")
        plan.rms_norm("h", "delta", block + "post_ffw_norm.weight", eps)
        plan.add("x", "x", "h")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    if logit_cap:
        plan.softcap("logits", "logits", logit_cap)
    return config, plan.build("logits")


def _attention_scale(config: ModelConfig) -> float:
    # The 27B model alone (46 layers) divides by its hidden size per head, not by the head's size.
    if config.n_layers == 46:
        return float((config.hidden_size / config.n_heads) ** -0.5)
    return float(config.head_dim**-0.5)
