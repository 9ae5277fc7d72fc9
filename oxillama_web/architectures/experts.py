"""Feed-forward layers that are mixtures of experts, as several families have them.

Shazeer et al. 2017, https://arxiv.org/abs/1701.06538; Jiang et al. 2024 (Mixtral),
https://arxiv.org/abs/2401.04088.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelFormatError

if TYPE_CHECKING:
    from ..gguf import GGUFFile
    from ..plan import PlanBuilder


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
    plan: PlanBuilder, dst: str, src: str, block: str, n_used: int, *, normalize: bool
) -> None:
    """dst = the sum over a token's experts of weight * SwiGLU(src).

    Args:
        block: what the names of the layer's tensors start with, as "blk.0.".
        n_used: experts that each token uses.
        normalize: whether the weights of the experts used add up to 1.
    """
    plan.linear("router", src, block + "ffn_gate_inp.weight")
    plan.select_experts("routes", "router", n_used, normalize=normalize)
    plan.expert_linear("expert_gate", src, "routes", block + "ffn_gate_exps.weight")
    plan.expert_linear("expert_up", src, "routes", block + "ffn_up_exps.weight")
    plan.glu("expert_gate", "expert_gate", "expert_up", "silu")
    plan.expert_linear("expert_out", "expert_gate", "routes", block + "ffn_down_exps.weight")
    plan.expert_sum(dst, "expert_out", "routes")
