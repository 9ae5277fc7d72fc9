"""Plans without a file: tensors are their shapes."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama_web.plan.builder import PlanBuilder
from oxillama_web.plan.operations.attention import Attention
from oxillama_web.plan.operations.elementwise import GLU, Add, SelectRows
from oxillama_web.plan.operations.embedding import Embed
from oxillama_web.plan.operations.linear import Linear
from oxillama_web.plan.operations.norms import RMSNorm
from oxillama_web.plan.operations.rope import Rope, RopeTable
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
    Embed.append(plan, "x", "embedding")
    RopeTable.append(plan, "rope", [1.0, 0.5])
    RMSNorm.append(plan, "h", "x", "norm", 1e-5)
    for name in "qkv":
        Linear.append(plan, name, "h", name)
    Rope.append(plan, "q", "rope", 4, "neox")
    Rope.append(plan, "k", "rope", 4, "neox")
    Attention.append(plan, "attended", "q", "k", "v", n_heads=2, n_kv_heads=1, scale=0.5)
    Linear.append(plan, "delta", "attended", "o")
    Add.append(plan, "x", "x", "delta")
    RMSNorm.append(plan, "h", "x", "norm", 1e-5)
    Linear.append(plan, "gate", "h", "gate")
    Linear.append(plan, "up", "h", "up")
    GLU.append(plan, "gate", "gate", "up", "silu")
    Linear.append(plan, "delta", "gate", "down")
    Add.append(plan, "x", "x", "delta")
    SelectRows.append(plan, "last", "x")
    Linear.append(plan, "logits", "last", "embedding")
    return plan.build("logits", "last")
