"""Feed-forward layers that are mixtures of experts, as several families have them.

Shazeer et al. 2017, https://arxiv.org/abs/1701.06538; Jiang et al. 2024 (Mixtral),
https://arxiv.org/abs/2401.04088.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelFormatError, UnsupportedModelError

if TYPE_CHECKING:
    from ..gguf.reader import GGUFFile
    from ..plan.operations import ExpertWeighting, PlanBuilder


def count_experts(gguf: GGUFFile) -> tuple[int, int]:
    """How many experts a layer has, and how many of them a token uses; (0, 0) without experts.

    Raises:
        ModelFormatError: the numbers do not fit together.
    """
    arch = gguf.get_str("general.architecture")
    n_experts = gguf.get_int(f"{arch}.expert_count", 0)
    n_used = gguf.get_int(f"{arch}.expert_used_count", 0)
    if not (1 <= n_used <= n_experts or n_used == n_experts == 0):
        raise ModelFormatError(
            f"{arch}.expert_used_count is {n_used} of {arch}.expert_count {n_experts}; "
            f"each token must use at least one of the experts"
        )
    return n_experts, n_used


def mixture_of_experts(
    plan: PlanBuilder, dst: str, src: str, block: str, n_used: int, weighting: ExpertWeighting
) -> None:
    """dst = the sum over a token's experts of weight * SwiGLU(src).

    Args:
        block: what the names of the layer's tensors start with, as "blk.0.".
        n_used: experts that each token uses.
        weighting: of the experts used.

    Raises:
        UnsupportedModelError: the file has a tensor for each expert.
    """
    if plan.has(f"{block}ffn_gate.0.weight"):
        raise UnsupportedModelError(
            "the file holds each expert's weights as tensors of their own, as was done until April "
            "2024: get a newer file of this model"
        )
    plan.linear("router", src, block + "ffn_gate_inp.weight")
    plan.select_experts("routes", "router", n_used, weighting)
    plan.expert_linear("expert_gate", src, "routes", block + "ffn_gate_exps.weight")
    plan.expert_linear("expert_up", src, "routes", block + "ffn_up_exps.weight")
    plan.glu("expert_gate", "expert_gate", "expert_up", "silu")
    plan.expert_linear("expert_out", "expert_gate", "routes", block + "ffn_down_exps.weight")
    plan.expert_sum(dst, "expert_out", "routes")


def add_shared_expert(plan: PlanBuilder, dst: str, src: str, block: str) -> None:
    """dst += sigmoid(gate(src)) * SwiGLU(src), of an expert that every token uses.

    Yang et al. 2024 (Qwen 2), https://arxiv.org/abs/2407.10671.
    """
    plan.dot("shared_router", src, block + "ffn_gate_inp_shexp.weight")
    plan.select_experts("shared_route", "shared_router", 1, "sigmoid")
    plan.linear("gate", src, block + "ffn_gate_shexp.weight")
    plan.linear("up", src, block + "ffn_up_shexp.weight")
    plan.glu("gate", "gate", "up", "silu")
    plan.linear("shared_out", "gate", block + "ffn_down_shexp.weight")
    plan.expert_sum("shared", "shared_out", "shared_route")
    plan.add(dst, dst, "shared")
