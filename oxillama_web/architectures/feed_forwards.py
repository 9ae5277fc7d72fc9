"""The steps of a layer's feed-forward: with and without a gate, and mixtures of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelFormatError, UnsupportedModelError
from ..plan.operations.elementwise import GLU, Activate, Add, TakeColumns
from ..plan.operations.experts import ExpertLinear, ExpertSum, SelectExperts
from ..plan.operations.linear import Linear
from .routing import Routing
from .steps import Steps

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..plan.builder import PlanBuilder
    from ..plan.operations.elementwise import Activation, Gating
    from ..plan.operations.experts import ExpertWeighting


class FeedForwardSteps(Steps):
    """Steps that read "h" and write "delta".

    Args:
        index: of the layer.
        n_experts_used: experts of the layer that each token uses; 0 where there are none.
    """

    def __init__(
        self, plan: PlanBuilder, config: ModelConfig, index: int, n_experts_used: int
    ) -> None:
        super().__init__(plan, config, f"blk.{index}.")
        self.index = index
        self.n_experts_used = n_experts_used

    def feed_forward(self, activation: Activation, src: str = "h") -> None:
        """Compute down(activation(up(src))) into "delta"."""
        self.linear("ffn_up", src, "up")
        self._check_ffn_size()
        Activate.append(self.plan, "up", "up", activation)
        self.linear("ffn_down", "up", "delta")

    def gated_feed_forward(
        self, activation: Activation, src: str = "h", dst: str = "delta", *, suffix: str = ""
    ) -> None:
        """Compute down(activation(gate(src)) * up(src)).

        A matrix `ffn_up` of twice the size holds the gate's rows, then its own.

        Args:
            suffix: what the names of the three tensors end with.
        """
        if not suffix and not self.has("ffn_gate.weight"):
            n = self.config.ffn_size
            self.split("ffn_up", {"ffn_gate": n, "ffn_up": n})
        self.linear("ffn_gate" + suffix, src, "gate")
        self.linear("ffn_up" + suffix, src, "up")
        if not suffix:
            self._check_ffn_size()
        GLU.append(self.plan, "gate", "gate", "up", activation)
        self.linear("ffn_down" + suffix, "gate", dst)

    def mixture_of_experts(
        self,
        routing: ExpertWeighting | Routing,
        src: str = "h",
        *,
        router: str | None = None,
        activation: Gating = "silu",
        ungated: Activation | None = None,
    ) -> None:
        """Sum weight * expert(src) over a token's experts into "delta".

        A bias `exp_probs_b` is part of the choice of experts where the file holds it.

        Shazeer et al. 2017, https://arxiv.org/abs/1701.06538; Jiang et al. 2024 (Mixtral),
        https://arxiv.org/abs/2401.04088.

        Args:
            routing: how the experts of a token, and their weights, follow from the router's logits.
            router: a buffer of the router's logits; None: they follow from src.
            activation: of the experts' gates.
            ungated: of experts that have none.

        Raises:
            UnsupportedModelError: the file has a tensor for each expert.
        """
        if self.has("ffn_gate.0.weight"):
            raise UnsupportedModelError(
                "the file holds each expert's weights as tensors of their own, as was done until "
                "April 2024: get a newer file of this model"
            )
        plan, prefix = self.plan, self.prefix
        if router is None:
            router = "router"
            self.linear("ffn_gate_inp", src, router)
        routing = Routing(routing) if isinstance(routing, str) else routing
        selection_bias = prefix + "exp_probs_b.bias"
        SelectExperts.append(
            plan,
            "routes",
            router,
            self.n_experts_used,
            routing.weighting,
            bias=selection_bias if plan.has(selection_bias) else None,
            scale=routing.scale,
            n_groups=routing.n_groups,
            n_groups_used=routing.n_groups_used,
        )
        if ungated is None:
            self._expert_gates_and_ups(src)
            GLU.append(plan, "expert_up", "expert_gate", "expert_up", activation)
        else:
            self._expert_linear("ffn_up_exps", src, "expert_up")
            Activate.append(plan, "expert_up", "expert_up", ungated)
        self._expert_linear("ffn_down_exps", "expert_up", "expert_out")
        ExpertSum.append(plan, "delta", "expert_out", "routes")

    def add_shared_expert(self, src: str = "h") -> None:
        """Add sigmoid(router(src)) * SwiGLU(src) to "delta": an expert that every token uses.

        Yang et al. 2024 (Qwen 2), https://arxiv.org/abs/2407.10671.
        """
        plan = self.plan
        Linear.append_dot(plan, "shared_router", src, f"{self.prefix}ffn_gate_inp_shexp.weight")
        SelectExperts.append(plan, "shared_route", "shared_router", 1, "sigmoid")
        self.gated_feed_forward("silu", src, "shared_out", suffix="_shexp")
        ExpertSum.append(plan, "shared", "shared_out", "shared_route")
        Add.append(plan, "delta", "delta", "shared")

    def add_ungated_shared_expert(self, src: str = "h", scale: float = 1.0) -> None:
        """Add scale * SwiGLU(src) to "delta".

        Dai et al. 2024 (DeepSeekMoE), https://arxiv.org/abs/2401.06066.
        """
        self.gated_feed_forward("silu", src, "shared_out", suffix="_shexp")
        Add.append(self.plan, "delta", "delta", "shared_out", scale)

    def _expert_gates_and_ups(self, src: str) -> None:
        """Compute both factors of the experts.

        One matrix may hold the gate's rows, then the other's.
        """
        if not self.has("ffn_gate_up_exps.weight"):
            self._expert_linear("ffn_gate_exps", src, "expert_gate")
            self._expert_linear("ffn_up_exps", src, "expert_up")
            return
        self._expert_linear("ffn_gate_up_exps", src, "expert_gate_up")
        half = self.plan.width("expert_gate_up") // self.n_experts_used // 2
        for dst, start in (("expert_gate", 0), ("expert_up", half)):
            TakeColumns.append(
                self.plan, dst, "expert_gate_up", group=2 * half, start=start, count=half
            )

    def _expert_linear(self, name: str, src: str, dst: str) -> None:
        weight, bias = f"{self.prefix}{name}.weight", f"{self.prefix}{name}.bias"
        ExpertLinear.append(self.plan, dst, src, "routes", weight, bias)

    def _check_ffn_size(self) -> None:
        width = self.plan.width("up")
        if width != self.config.ffn_size:
            raise ModelFormatError(
                f"{self.config.architecture}.feed_forward_length is {self.config.ffn_size} in "
                f"layer {self.index}, and {self.prefix}ffn_up has {width} rows"
            )
