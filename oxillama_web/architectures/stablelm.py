"""StableLM: Llama with LayerNorm, and only a part of each head rotates.

The 12B model normalizes each head of Q and K, and has attention and feed-forward side by side.
Bellagente et al. 2024, https://arxiv.org/abs/2402.17834.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.operations import Plan, PlanBuilder
from .common import (
    TOKEN_EMBEDDING,
    attend,
    gated_feed_forward,
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
    """The sizes and the plan of a StableLM file."""
    config = read_config(gguf, context_size)
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_rope_table(plan, "rope", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        layer_norm(plan, config, "h", "x", block + "attn_norm")
        project_qkv(plan, config, block, "h")
        for name in ("q", "k"):
            if plan.has(f"{block}attn_{name}_norm.weight"):
                layer_norm(plan, config, name, name, f"{block}attn_{name}_norm")
        rotate(plan, config, "rope", "neox")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        if plan.has(block + "ffn_norm.weight"):
            layer_norm(plan, config, "h", "x", block + "ffn_norm")
        gated_feed_forward(plan, config, block, "h", "silu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    layer_norm(plan, config, "last", "last", "output_norm")
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
