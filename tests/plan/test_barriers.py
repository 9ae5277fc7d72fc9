"""Where threads meet: often enough, and not where they need not."""

from __future__ import annotations

import pytest
from small_plans import builder, one_layer

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.kernels.lowering import lower
from oxillama_web.plan.barriers import replicated_buffers
from oxillama_web.plan.operations.elementwise import Add, Scale
from oxillama_web.plan.operations.embedding import Embed
from oxillama_web.plan.operations.linear import Linear, Quantize
from oxillama_web.plan.operations.norms import RMSNorm
from oxillama_web.plan.operations.rope import Rope, RopeTable
from oxillama_web.plan.plan import Plan


def named(plan: Plan, passes: int) -> list[str]:
    """The steps with a barrier in such passes: their kind, and what they write or quantize."""
    lowered = lower(plan, n_threads=2)
    rows = (abi.Op * len(lowered.steps)).from_buffer_copy(lowered.rows)
    return [
        f"{type(op).__name__} {op.src if isinstance(op, Quantize) else op.writes}"
        for (op, _), row in zip(lowered.steps, rows, strict=True)
        if row.barrier & passes
    ]


def test_in_passes_of_several_tokens_threads_share_all_work() -> None:
    assert named(one_layer(), abi.BARRIER_MANY) == [
        *["Quantize h", "Linear q"],  # k and v use the same quantized input
        "Rope q",  # and rope of k needs nothing that was written since
        # the keys are stored by the threads that rotated them
        *["Attention attended", "Quantize attended", "Linear delta", "Add x", "RMSNorm h"],
        *["Quantize h", "Linear gate", "GLU gate", "Quantize gate", "Linear delta", "Add x"],
        *["SelectRows last", "Quantize last", "Linear logits"],
    ]


def test_in_passes_of_one_token_each_thread_does_quick_work_by_itself() -> None:
    plan = one_layer()
    assert replicated_buffers(plan) == {"x", "rope", "h", "last"}
    assert named(plan, abi.BARRIER_ONE) == [
        *["Rope q", "Attention attended", "Quantize attended", "Add x"],
        *["GLU gate", "Quantize gate", "Add x"],
    ]


def test_products_with_float_weights_need_no_quantized_input() -> None:
    plan = builder(embedding=(8, 50), matrix=(8, 8))
    Embed.append(plan, "x", "embedding")
    Linear.append(plan, "y", "x", "matrix")
    Linear.append(plan, "z", "x", "matrix")
    Add.append(plan, "x", "y", "z")
    built = plan.build("x")
    built.weights["matrix"].format = 0
    assert named(built, abi.BARRIER_MANY) == ["Linear y", "Add x"]
    assert named(built, abi.BARRIER_ONE) == ["Add x"]


def test_a_buffer_that_a_product_writes_is_not_replicated() -> None:
    plan = builder(embedding=(8, 50), matrix=(8, 8), norm=(8,))
    Embed.append(plan, "x", "embedding")
    Linear.append(plan, "y", "x", "matrix")
    RMSNorm.append(plan, "y", "y", "norm", 1e-5)
    Add.append(plan, "x", "x", "y")
    assert replicated_buffers(built := plan.build("x")) == {"x"}
    assert named(built, abi.BARRIER_ONE) == ["RMSNorm y", "Add x"]


def test_what_threads_share_is_complete_before_one_reads_all_of_it() -> None:
    plan = builder(embedding=(8, 50), matrix=(8, 8))
    Embed.append(plan, "x", "embedding")
    Linear.append(plan, "y", "x", "matrix")
    Scale.append(plan, "y", "y", 2.0)
    Add.append(plan, "x", "x", "y")
    built = plan.build("x")
    assert named(built, abi.BARRIER_ONE) == ["Scale y", "Add x"]
    # scaled and added by the same threads
    assert named(built, abi.BARRIER_MANY) == ["Quantize x", "Linear y", "Scale y"]


@pytest.mark.parametrize(("group", "meets"), [(4, False), (2, True), (8, True)])
def test_threads_that_have_the_same_heads_need_not_meet(group: int, meets: bool) -> None:
    plan = builder(embedding=(8, 50), matrix=(8, 8), norm=(group,))
    Embed.append(plan, "x", "embedding")
    RopeTable.append(plan, "rope", [1.0, 0.5])
    Linear.append(plan, "q", "x", "matrix")
    RMSNorm.append(plan, "q", "q", "norm", 1e-5)
    Rope.append(plan, "q", "rope", 4, "neox")
    built = plan.build("q")
    for passes in (abi.BARRIER_MANY, abi.BARRIER_ONE):
        assert ("Rope q" in named(built, passes)) == meets
        assert "RMSNorm q" in named(built, passes)
