"""Llama: RMSNorm, rotary positions on adjacent pairs, grouped-query attention, SwiGLU.

Touvron et al. 2023, https://arxiv.org/abs/2307.09288. The GGUF converter permutes Q and K of this
family so that the pairs that rotate together lie side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan import Plan, PlanBuilder
from .common import TOKEN_EMBEDDING, inverse_frequencies, output_head, read_config
from .experts import count_experts, mixture_of_experts

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf import GGUFFile


def read(gguf: GGUFFile) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a Llama-family file."""
    config = read_config(gguf)
    _, n_used = count_experts(gguf)
    eps = config.rms_norm_eps
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    plan.rope_table("rope", inverse_frequencies(gguf, config, config.rope_base))
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        plan.rms_norm("h", "x", block + "attn_norm.weight", eps)
        plan.linear("q", "h", block + "attn_q.weight", block + "attn_q.bias")
        plan.linear("k", "h", block + "attn_k.weight", block + "attn_k.bias")
        plan.linear("v", "h", block + "attn_v.weight", block + "attn_v.bias")
        plan.rope("q", "rope", config.head_dim, "adjacent")
        plan.rope("k", "rope", config.head_dim, "adjacent")
        plan.attention(
            "attended",
            "q",
            "k",
            "v",
            n_heads=config.n_heads,
            n_kv_heads=config.n_kv_heads,
            scale=config.head_dim**-0.5,
            window=config.sliding_window,
        )
        plan.linear("delta", "attended", block + "attn_output.weight", block + "attn_output.bias")
        plan.add("x", "x", "delta")
        plan.rms_norm("h", "x", block + "ffn_norm.weight", eps)
        if n_used:
            mixture_of_experts(plan, "delta", "h", block, n_used, normalize=True)
        else:
            plan.linear("gate", "h", block + "ffn_gate.weight", block + "ffn_gate.bias")
            plan.linear("up", "h", block + "ffn_up.weight", block + "ffn_up.bias")
            plan.glu("gate", "gate", "up", "silu")
            plan.linear("delta", "gate", block + "ffn_down.weight", block + "ffn_down.bias")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.rms_norm("last", "last", "output_norm.weight", eps)
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
