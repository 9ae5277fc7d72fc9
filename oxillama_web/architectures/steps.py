"""Steps that a layer and the model outside of its layers have in common: see model_builder.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..plan.operations.elementwise import GLU, Activate, AddBias
from ..plan.operations.linear import Linear
from ..plan.operations.norms import LayerNorm, RMSNorm

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..plan.builder import PlanBuilder
    from ..plan.operations.elementwise import Activation

Norm = Literal["rms", "layer"]


class Steps:
    """Steps that a layer and the model outside of its layers have in common.

    Args:
        prefix: what the names of the tensors start with: "blk.0.", or "" outside of the layers.
    """

    def __init__(self, plan: PlanBuilder, config: ModelConfig, prefix: str) -> None:
        self.plan = plan
        self.config = config
        self.prefix = prefix

    def has(self, tensor: str) -> bool:
        """Return whether the file holds a tensor of this name (without the prefix)."""
        return self.plan.has(self.prefix + tensor)

    def norm(self, kind: Norm, name: str, src: str = "x", dst: str = "h") -> None:
        """Normalize by `rms_norm` or `layer_norm`."""
        normalize = self.rms_norm if kind == "rms" else self.layer_norm
        normalize(name, src, dst)

    def rms_norm(
        self, name: str, src: str = "x", dst: str = "h", *, suffix: str = ".weight"
    ) -> None:
        """Normalize rows, or each head where the tensor is as long as a head.

        The tensor `name`.bias is added where the file holds it.

        Args:
            suffix: what the name of the tensor ends with.
        """
        weight, bias = f"{self.prefix}{name}{suffix}", f"{name}.bias"
        RMSNorm.append(self.plan, dst, src, weight, self.config.norm_eps)
        if self.has(bias):
            AddBias.append(self.plan, dst, dst, self.prefix + bias)

    def glu(self, dst: str, gate: str, up: str, activation: Activation) -> None:
        """Compute activation(gate) * up."""
        GLU.append(self.plan, dst, gate, up, activation)

    def activate(self, buffer: str, activation: Activation) -> None:
        """Apply a function to each value of a buffer, in place."""
        Activate.append(self.plan, buffer, buffer, activation)

    def layer_norm(self, name: str, src: str = "x", dst: str = "h") -> None:
        """Normalize with `name`.weight and, where the file holds it, `name`.bias."""
        weight, bias = f"{self.prefix}{name}.weight", f"{self.prefix}{name}.bias"
        LayerNorm.append(self.plan, dst, src, weight, self.config.norm_eps, bias)

    def unweighted_norm(
        self, kind: Norm, src: str = "x", dst: str = "h", *, group: int = 0, eps: float = 0.0
    ) -> None:
        """Normalize groups of values without a weight; 0: whole rows, and the model's epsilon."""
        operation = RMSNorm if kind == "rms" else LayerNorm
        group, eps = group or self.plan.width(src), eps or self.config.norm_eps
        operation.append_unweighted(self.plan, dst, src, group, eps)

    def linear(self, name: str, src: str, dst: str) -> None:
        """Multiply by `name`.weight and, where the file holds it, add `name`.bias."""
        weight, bias = f"{self.prefix}{name}.weight", f"{self.prefix}{name}.bias"
        Linear.append(self.plan, dst, src, weight, bias)

    def split(self, merged: str, sizes: dict[str, int]) -> None:
        """Name rows of a merged matrix, and of its bias, as tensors of their own, if there is one.

        Args:
            sizes: the number of rows of each part.
        """
        for kind in (".weight", ".bias"):
            if self.has(merged + kind):
                parts = {f"{self.prefix}{name}{kind}": n for name, n in sizes.items()}
                self.plan.split_rows(self.prefix + merged + kind, parts)
