"""Command R and R7B: LayerNorm, scaled logits, attention and feed-forward side by side.

Cohere 2024, https://docs.cohere.com/docs/command-r; 2025, https://arxiv.org/abs/2504.00698. R7B, of
the architecture "cohere2", has a sliding window in three of four layers, and no positions in the
fourth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from ..plan.operations import Plan, PlanBuilder
from .common import (
    TOKEN_EMBEDDING,
    attend,
    gated_feed_forward,
    layer_norm,
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

GLOBAL_LAYER_PERIOD = 4


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Command R or Command R7B file."""
    config = read_config(gguf, context_size)
    has_windows = config.architecture == "cohere2"
    if has_windows and config.sliding_window < 1:
        raise ModelFormatError("cohere2.attention.sliding_window is missing or zero")
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        window = layer_window(gguf, config, layer, GLOBAL_LAYER_PERIOD) if has_windows else 0
        layer_norm(plan, config, "h", "x", block + "attn_norm")
        project_qkv(plan, config, block, "h")
        for name in ("q", "k"):
            if plan.has(f"{block}attn_{name}_norm.weight"):
                layer_norm(plan, config, name, name, f"{block}attn_{name}_norm")
        if window or not has_windows:
            rotate(plan, config, "rope", "interleaved")
        attend(plan, config, block, window=window)
        plan.add("x", "x", "delta")
        gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    layer_norm(plan, config, "last", "last", "output_norm")
    output_head(plan, "logits", "last")
    plan.scale("logits", "logits", gguf.get_float(f"{config.architecture}.logit_scale"))
    return config, plan.build("logits")
