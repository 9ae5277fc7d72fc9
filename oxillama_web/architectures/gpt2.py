"""GPT-2 and StarCoder: learned absolute positions, LayerNorm, GELU, biases everywhere.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; Li et al. 2023,
https://arxiv.org/abs/2305.06161. StarCoder has one key head for all queries: Shazeer 2019,
https://arxiv.org/abs/1911.02150.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.operations import Plan, PlanBuilder
from .common import (
    TOKEN_EMBEDDING,
    add_learned_positions,
    attend,
    feed_forward,
    layer_norm,
    output_head,
    project_qkv,
    read_config,
)

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a GPT-2 or StarCoder file.

    Raises:
        InvalidRequestError: the context is to be longer than the positions that were learned.
    """
    config = read_config(gguf, context_size)
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    add_learned_positions(plan, gguf, config)
    for layer in range(config.n_layers):
        block = f"blk.{layer}."
        layer_norm(plan, config, "h", "x", block + "attn_norm")
        project_qkv(plan, config, block, "h")
        attend(plan, config, block)
        plan.add("x", "x", "delta")
        layer_norm(plan, config, "h", "x", block + "ffn_norm")
        feed_forward(plan, block, "h", "gelu")
        plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    layer_norm(plan, config, "last", "last", "output_norm")
    output_head(plan, "logits", "last")
    return config, plan.build("logits")
