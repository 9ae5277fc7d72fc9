"""GPT-2 and StarCoder: learned absolute positions, LayerNorm, GELU, biases everywhere.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; Li et al. 2023,
https://arxiv.org/abs/2305.06161. StarCoder has one key head for all queries: Shazeer 2019,
https://arxiv.org/abs/1911.02150.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidRequestError, ModelFormatError
from ..plan import Plan, PlanBuilder
from .common import (
    TOKEN_EMBEDDING,
    attend,
    feed_forward,
    layer_norm,
    output_head,
    project_qkv,
    read_config,
)

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf import GGUFFile

POSITION_EMBEDDING = "position_embd.weight"


def read(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The sizes and the plan of a GPT-2 or StarCoder file.

    Raises:
        InvalidRequestError: the context is to be longer than the positions that were learned.
    """
    config = read_config(gguf, context_size)
    plan = PlanBuilder(gguf.tensors)
    plan.embed("x", TOKEN_EMBEDDING)
    plan.position_embed("positions", POSITION_EMBEDDING)
    _check_positions(config, gguf.tensors[POSITION_EMBEDDING].shape[1])
    plan.add("x", "x", "positions")
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


def _check_positions(config: ModelConfig, n_positions: int) -> None:
    if config.context_length > n_positions:
        raise ModelFormatError(
            f"tensor {POSITION_EMBEDDING!r} has {n_positions} positions, and the file states a "
            f"context of {config.context_length}"
        )
    if config.context_size > n_positions:
        raise InvalidRequestError(
            f"context_size is {config.context_size}; this model has learned {n_positions} positions"
        )
