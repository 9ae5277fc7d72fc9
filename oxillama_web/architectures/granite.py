"""Granite: Llama with scales of the embedding, the residual additions, the scores and the logits.

IBM Granite Team 2024, https://github.com/ibm-granite/granite-3.0-language-models; the scales are
those of Yang et al. 2022, https://arxiv.org/abs/2203.03466.
"""

from __future__ import annotations

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
    rotate,
)
from .rope import add_rope_table

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Granite file."""
    config = read_config(gguf, context_size)
    eps = config.norm_eps
    # 0 stands for none in these files
    residual_scale = gguf.get_float("granite.residual_scale", 0.0) or 1.0
    attention_scale = gguf.get_float("granite.attention.scale", 0.0) or None
    logit_divisor = gguf.get_float("granite.logit_scale")
    if not logit_divisor:
        raise ModelFormatError("granite.logit_scale is 0; the logits are divided by it")
    has_positions = gguf.get_bool("granite.rope.scaling.finetuned", True)
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING, scale=gguf.get_float("granite.embedding_scale", 0.0) or 1.0)
    if has_positions:
        add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        if has_positions:
            rotate(plan, config, "rope", "interleaved")
        attend(plan, config, block, scale=attention_scale)
        plan.add("x", "x", "delta", scale=residual_scale)
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta", scale=residual_scale)
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    plan.scale("logits", "logits", 1.0 / logit_divisor)
    return config, plan.build("logits")
