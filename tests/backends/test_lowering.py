"""What lowering makes of a plan: rows of numbers, with inputs prepared where kernels need them."""

from __future__ import annotations

import struct

import pytest
from small_plans import builder, one_layer

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.kernels.lowering import LoweredPlan, lower
from oxillama_web.errors import ModelFormatError
from oxillama_web.plan.builder import PlanBuilder
from oxillama_web.plan.operations.attention import Attention
from oxillama_web.plan.operations.elementwise import Add
from oxillama_web.plan.operations.embedding import Embed
from oxillama_web.plan.operations.experts import ExpertLinear, GatherExperts, SelectExperts
from oxillama_web.plan.operations.linear import Linear, Quantize
from oxillama_web.plan.operations.norms import RMSNorm
from oxillama_web.plan.plan import Plan


def rows_of(lowered: LoweredPlan) -> list[abi.Op]:
    return list((abi.Op * len(lowered.steps)).from_buffer_copy(lowered.rows))


def prepared(plan: Plan, starts: tuple[int, ...] = ()) -> list[str]:
    """Products, and the operations that prepare their inputs."""
    names = []
    for op, _ in lower(plan, 1, starts).steps:
        match op:
            case Quantize():
                names.append(f"quantize {op.src}")
            case GatherExperts():
                form = "quantized" if op.quantized else "float"
                names.append(f"gather {op.src} by {op.routes}, {form}")
            case Linear() | ExpertLinear():
                names.append(op.dst)
    return names


def test_rows_hold_operands_in_the_order_of_their_fields() -> None:
    plan = one_layer()
    embed, table, norm, *_ = rows_of(lower(plan, 1))
    assert (embed.kind, embed.dst, embed.args[0]) == (1, 0, 0)
    assert struct.pack("<i", embed.args[1]) == struct.pack("<f", 1.0)
    assert (table.kind, table.dst, table.args[:3]) == (4, 1, [0, 1, 1])
    assert (norm.kind, norm.dst, norm.args[:3]) == (2, 2, [0, 1, 8])
    assert struct.pack("<i", norm.args[3]) == struct.pack("<f", 1e-5)


def test_constants_are_numbered_apart_from_the_weights() -> None:
    assert lower(one_layer(), 1).constants == [(1.0, 0.5), (1.0,)]


def test_choices_become_their_places_and_absent_weights_minus_one() -> None:
    lowered = lower(one_layer(), 1)
    rows = zip(lowered.steps, rows_of(lowered), strict=True)
    by_name = {type(op).__name__: row for (op, _), row in rows}
    assert by_name["Rope"].args[3] == 1  # neox
    assert by_name["GLU"].args[2] == 0  # silu
    assert by_name["Attention"].args[6] == 1  # causal
    assert by_name["Linear"].args[2] == -1  # no bias
    assert by_name["KVStore"].dst == by_name["Quantize"].dst == -1


@pytest.mark.parametrize("eps", [1e300, 2.0**128])
def test_numbers_that_no_float32_holds_are_refused(eps: float) -> None:
    plan = builder(embedding=(8, 50), norm=(8,))
    Embed.append(plan, "x", "embedding")
    RMSNorm.append(plan, "x", "x", "norm", eps)
    with pytest.raises(ModelFormatError, match=r"RMSNorm.*32 bits"):
        lower(plan.build("x"), 1)


def test_integers_that_have_more_than_32_bits_are_refused() -> None:
    plan = builder(embedding=(8, 50))
    Embed.append(plan, "q", "embedding")
    sizes = {"n_heads": 1, "n_kv_heads": 1, "scale": 1.0}
    Attention.append(plan, "x", "q", "q", "q", window=2**31, **sizes)
    with pytest.raises(ModelFormatError, match=r"Attention.*32 bits"):
        lower(plan.build("x"), 1)


def small_plan(**shapes: tuple[int, ...]) -> PlanBuilder:
    plan = builder(embedding=(32, 50), a=(32, 32), b=(32, 32), float=(32, 32), norm=(32,), **shapes)
    Embed.append(plan, "x", "embedding")
    return plan


def test_an_input_is_quantized_once_for_all_products_that_follow() -> None:
    plan = small_plan()
    Linear.append(plan, "y", "x", "a")
    Linear.append(plan, "z", "x", "b")
    Linear.append(plan, "w", "x", "float")
    Add.append(plan, "y", "y", "z")
    Linear.append(plan, "v", "x", "b")
    Linear.append(plan, "z", "y", "b")
    Linear.append(plan, "y", "x", "a")
    built = plan.build("y")
    built.weights["float"].format = 1
    assert prepared(built) == [
        *["quantize x", "y", "z", "w", "v"],
        *["quantize y", "z", "quantize x", "y"],
    ]


def test_an_input_that_has_changed_is_quantized_again() -> None:
    plan = small_plan()
    Linear.append(plan, "y", "x", "a")
    RMSNorm.append(plan, "x", "x", "norm", 1e-5)
    Linear.append(plan, "y", "x", "a")
    assert prepared(plan.build("y")) == ["quantize x", "y", "quantize x", "y"]


def test_nothing_is_prepared_before_the_start_of_a_part() -> None:
    plan = small_plan()
    Linear.append(plan, "y", "x", "a")
    Linear.append(plan, "z", "x", "b")
    built = plan.build("z")
    assert prepared(built) == ["quantize x", "y", "z"]
    assert prepared(built, starts=(2,)) == ["quantize x", "y", "quantize x", "z"]
    lowered = lower(built, 1, starts=(0, 2))
    # the first row of each operation is that which prepares its input
    assert lowered.first_rows == [0, 1, 3, 5]


def test_inputs_of_experts_are_gathered_in_the_form_that_their_weights_take() -> None:
    experts = dict.fromkeys(("gate", "up", "float_up"), (32, 32, 4))
    plan = small_plan(router=(32, 4), **experts)
    Linear.append(plan, "router", "x", "router")
    SelectExperts.append(plan, "routes", "router", 2, "sigmoid")
    for name in ("gate", "up", "float_up"):
        ExpertLinear.append(plan, name, "x", "routes", name)
    Linear.append(plan, "last", "x", "a")
    built = plan.build("last")
    built.weights["float_up"].format = 30
    assert prepared(built) == [
        *["quantize x", "router"],
        *["gather x by routes, quantized", "gate", "up"],
        *["gather x by routes, float", "float_up"],
        *["quantize x", "last"],
    ]
