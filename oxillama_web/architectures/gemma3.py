"""Gemma 3: norms before and after each block, normalized Q and K, local and global layers, GeGLU.

Gemma Team 2025, https://arxiv.org/abs/2503.19786. The GGUF converter has already added the 1 that
Gemma adds to its norm weights.
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

# Every sixth layer sees the whole context; the others see a sliding window and rotate with a base
# of their own, unscaled.
GLOBAL_LAYER_PERIOD = 6
LOCAL_ROPE_BASE = 10000.0


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Gemma 3 file."""
    config = read_config(gguf, context_size, default_rope_base=1e6)
    if config.sliding_window < 1:
        raise ModelFormatError("gemma3.attention.sliding_window is missing or zero")
    eps = config.norm_eps
    local_base = gguf.get_float("gemma3.rope.freq_base_swa", LOCAL_ROPE_BASE)
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING, scale=config.hidden_size**0.5)
    plan.rope_table("rope_local", plain_frequencies(config.rope_dim, local_base))
    add_rope_table(plan, "rope_global", gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        window = layer_window(gguf, config, layer, GLOBAL_LAYER_PERIOD)
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        project_qkv(plan, config, block, "h")
        plan.rms_norm("q", "q", block + "attn_q_norm.weight", eps)
        plan.rms_norm("k", "k", block + "attn_k_norm.weight", eps)
        rotate(plan, config, "rope_local" if window else "rope_global", "neox")
        attend(plan, config, block, scale=_attention_scale(config), window=window)
        plan.rms_norm("h", "delta", block + "post_attention_norm.weight", eps)
        plan.add("x", "x", "h")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        gated_feed_forward(plan, config, block, "h", "gelu")
        plan.rms_norm("h", "delta", block + "post_ffw_norm.weight", eps)
        plan.add("x", "x", "h")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", OUTPUT_NORM, eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")


def _attention_scale(config: ModelConfig) -> float:
    # The 27B model alone (62 layers) divides by its hidden size per head, not by the head's size.
    if config.n_layers == 62:
        return float((config.hidden_size / config.n_heads) ** -0.5)
    return float(config.head_dim**-0.5)
