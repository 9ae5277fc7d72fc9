"""Plans without a file: tensors are their shapes."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama_web.plan.builder import PlanBuilder
from oxillama_web.plan.plan import Plan


@dataclass
class FakeTensor:
    shape: tuple[int, ...]
    format: int = 8  # Q8_0


def builder(**shapes: tuple[int, ...]) -> PlanBuilder:
    return PlanBuilder({name: FakeTensor(shape) for name, shape in shapes.items()})  # type: ignore[arg-type]


def one_layer() -> Plan:
    plan = builder(
        embedding=(8, 50), norm=(8,), q=(8, 8), k=(8, 4), v=(8, 4), o=(8, 8), up=(8, 12),
        gate=(8, 12), down=(12, 8),
    )  # fmt: skip
    plan.embed("x", "embedding")
    plan.rope_table("rope", [1.0, 0.5])
    plan.rms_norm("h", "x", "norm", 1e-5)
    for name in "qkv":
        plan.linear(name, "h", name)
    plan.rope("q", "rope", 4, "neox")
    plan.rope("k", "rope", 4, "neox")
    plan.attention("attended", "q", "k", "v", n_heads=2, n_kv_heads=1, scale=0.5)
    plan.linear("delta", "attended", "o")
    plan.add("x", "x", "delta")
    plan.rms_norm("h", "x", "norm", 1e-5)
    plan.linear("gate", "h", "gate")
    plan.linear("up", "h", "up")
    plan.glu("gate", "gate", "up", "silu")
    plan.linear("delta", "gate", "down")
    plan.add("x", "x", "delta")
    plan.select_rows("last", "x")
    plan.linear("logits", "last", "embedding")
    return plan.build("logits")
