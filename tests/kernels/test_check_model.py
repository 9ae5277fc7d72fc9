"""Models and batches that do not fit are refused, each for its reason."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
from linear_driver import Block, load, random_weight, set_operand
from ops_driver import F16, KernelPlan, Pool

from oxillama_web.backends.kernels import abi
from oxillama_web.backends.kernels.lowering import arguments
from oxillama_web.plan.operations.attention import Attention, KVStore
from oxillama_web.plan.operations.elementwise import GLU, Activate, Add, Scale, SelectRows, Softcap
from oxillama_web.plan.operations.embedding import Embed, PositionEmbed
from oxillama_web.plan.operations.experts import ExpertLinear, GatherExperts
from oxillama_web.plan.operations.linear import Linear, Quantize
from oxillama_web.plan.operations.norms import LayerNorm, RMSNorm
from oxillama_web.plan.operations.rope import Rope, RopeTable
from oxillama_web.plan.plan import Role

BAD_MODEL, BAD_FORMAT, BAD_BATCH, BAD_TOKEN, BAD_SCRATCH = 1, 2, 3, 4, 5
N_TOKENS, VOCABULARY = 5, 40
# the operations of TinyModel
EMBED, TABLE, NORM, QUANTIZE, Q, K, V, ROPE, STORE, ATTENTION, QUANTIZE_OUT, OUT = range(12)
ADD, GLU_OP, SELECT, LOGITS, CAP, LAYER_NORM, ACTIVATE, SCALE = range(12, 20)


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return load("portable")


class TinyModel:
    """One layer that holds every operation, in memory of exact sizes."""

    def __init__(self) -> None:
        plan = self.plan = KernelPlan(64, F16)
        self.weights = [
            random_weight("Q4_1", VOCABULARY, 64),
            *(random_weight("Q8_0", n, 64, seed=n) for n in (64, 32, 32, 64)),
            random_weight("F16", VOCABULARY, 64),
        ]
        embedding, q, k, v, out, head = (plan.tensor(w.struct()) for w in self.weights)
        norm, bias = plan.vector(np.ones(64)), plan.vector(np.ones(32))
        frequencies, _longer = (plan.constant(np.ones(n)) for n in (8, 64))
        plan.constants.append(self.weights[0].struct())
        x, h, queries = (plan.buffer(N_TOKENS, 64) for _ in range(3))
        keys, values = (plan.buffer(N_TOKENS, 32) for _ in range(2))
        table = plan.buffer(N_TOKENS, 16)
        last, logits = plan.buffer(2, 64, "output"), plan.buffer(2, VOCABULARY, "output")
        layer = plan.layer(2, 16, 16)
        plan.op(Embed, dst=x, weight=embedding, scale=1.0)
        plan.op(
            RopeTable,
            dst=table,
            frequencies=frequencies,
            attention_factors=frequencies,
            interval=1,
        )
        plan.op(RMSNorm, src=x, dst=h, weight=norm, group=64, eps=1e-5)
        plan.op(Quantize, src=h)
        plan.op(Linear, src=h, dst=queries, weight=q)
        plan.op(Linear, src=h, dst=keys, weight=k, bias=bias, barrier=0)
        plan.op(Linear, src=h, dst=values, weight=v, barrier=0)
        plan.op(Rope, table=table, dst=queries, head_dim=16, n_rot=16, style=1)
        plan.op(KVStore, keys=keys, values=values, layer=layer)
        plan.op(
            Attention,
            queries=queries,
            dst=h,
            layer=layer,
            n_heads=4,
            window=3,
            causal=1,
            scale=0.25,
            softcap=5.0,
        )
        plan.op(Quantize, src=h)
        plan.op(Linear, src=h, dst=queries, weight=out)
        plan.op(Add, a=x, b=queries, dst=x, scale=1.0)
        plan.op(GLU, gate=x, up=h, dst=x, activation=1)
        plan.op(SelectRows, src=x, dst=last)
        plan.op(Linear, src=last, dst=logits, weight=head)
        plan.op(Softcap, src=logits, dst=logits, cap=5.0)
        plan.op(LayerNorm, src=x, dst=h, weight=norm, bias=norm, group=32, eps=1e-5)
        plan.op(Activate, src=h, dst=x, activation=1)
        plan.op(Scale, src=x, dst=x, factor=0.5)
        self.model = plan.model()
        self.tensors, self.constants, self.buffers, self.ops, self.layers, _ = plan._tables

    def batch(self) -> abi.Batch:
        return self.plan.batch(N_TOKENS, 62, [1, 4], [3, 1, 4, 1, 39])

    def check(self, library: ctypes.CDLL) -> int:
        return int(library.ox_check_model(ctypes.byref(self.model)))

    def forward(
        self, library: ctypes.CDLL, batch: abi.Batch, pool: Pool | None = None, missing: int = 0
    ) -> int:
        n_threads = pool.n_threads if pool else 1
        n_bytes = library.ox_scratch_bytes(ctypes.byref(self.model), N_TOKENS, n_threads)
        scratch = Block(n_bytes)
        arguments = [
            *[ctypes.byref(self.model), ctypes.byref(batch), ctypes.c_void_p(scratch.address)],
            ctypes.c_uint64(n_bytes - missing),
        ]
        if pool:
            return int(library.ox_pool_forward(pool.address, *arguments))
        return int(library.ox_forward(*arguments))


def test_a_good_model_runs(library: ctypes.CDLL) -> None:
    tiny = TinyModel()
    assert tiny.check(library) == 0
    assert tiny.forward(library, tiny.batch()) == 0
    logits = tiny.plan.read(7)
    assert np.isfinite(logits).all() and logits.any()
    with Pool(library, 3) as pool:
        assert tiny.forward(library, tiny.batch(), pool) == 0
    np.testing.assert_array_equal(tiny.plan.read(7), logits)


def changed_op(index: int, name: str, value: float) -> TinyModel:
    """A model in which an operand of an operation, or its kind or dst, is another number."""
    tiny = TinyModel()
    set_operand(tiny.ops[index], tiny.plan.operations[index], name, value)
    return tiny


@pytest.mark.parametrize("number", [-1, -(2**31), 8, 9, 2**31 - 1])
def test_numbers_outside_of_the_tables(library: ctypes.CDLL, number: int) -> None:
    """There are 8 buffers and 8 tensors, and fewer constants and layers; -1 may mean no vector."""
    may_lack = (Role.VECTOR,) if number < 0 else ()
    places = []
    for index, operation in enumerate(TinyModel().plan.operations):
        if index not in (QUANTIZE, QUANTIZE_OUT, STORE):
            places.append((index, "dst"))
        for operand in arguments(operation):
            if operand.role not in (Role.INTEGER, Role.FLOAT, Role.CHOICE, *may_lack):
                places.append((index, operand.name))
    if number < 0:
        places.append((LAYER_NORM, "weight"))  # it has a bias
        places = [
            place for place in places if place[1] not in ("slopes", "buckets", "position_bias")
        ]
    assert len(places) > 40
    for index, name in places:
        tiny = changed_op(index, name, number)
        assert tiny.check(library) == BAD_MODEL | index << 8, (index, name)


@pytest.mark.parametrize(
    ("op", "name", "value"),
    [
        (NORM, "group", 0),
        (NORM, "group", 63),
        (NORM, "group", 128),
        (NORM, "group", -64),
        (NORM, "weight", 7),  # of 32 values
        (NORM, "weight", 1),  # no vector
        (NORM, "dst", 6),  # of other rows
        (Q, "dst", 1),  # its own input
        (Q, "dst", 3),  # of another width
        (Q, "src", 6),
        (Q, "column", -1),
        (Q, "column", 1),
        (K, "bias", 6),  # of 64 values for 32
        (TABLE, "frequencies", 1),  # of 64 values
        (TABLE, "attention_factors", -1),
        (TABLE, "attention_factors", 2),  # no vector
        (TABLE, "interval", 0),
        (TABLE, "dst", 6),
        (EMBED, "dst", 3),
        (EMBED, "dst", 6),
        (ROPE, "dst", 5),  # its own table
        (ROPE, "dst", 6),
        (ROPE, "table", 2),
        (ROPE, "head_dim", 0),
        (ROPE, "head_dim", 48),
        (ROPE, "n_rot", 15),
        (ROPE, "n_rot", 14),
        (ROPE, "style", 2),
        (STORE, "keys", 0),
        (STORE, "values", 0),
        (ATTENTION, "n_heads", 0),
        (ATTENTION, "n_heads", 3),
        (ATTENTION, "n_heads", 8),
        (ATTENTION, "n_heads", -4),
        (ATTENTION, "window", -1),
        (ATTENTION, "causal", 2),
        (ATTENTION, "sinks", 0),  # a vector of another length
        (ATTENTION, "sinks", 99),
        (ATTENTION, "dst", 2),  # its own input
        (ATTENTION, "dst", 6),
        (ADD, "b", 3),
        (ADD, "b", 6),
        (GLU_OP, "activation", 7),
        (GLU_OP, "activation", -1),
        (SELECT, "src", 6),
        (SELECT, "dst", 1),
        (CAP, "src", 6),
        (CAP, "cap", 0.0),
        (ADD, "kind", 0),
        (LAYER_NORM, "group", 0),
        (LAYER_NORM, "group", -32),
        (LAYER_NORM, "group", 48),
        (LAYER_NORM, "group", 128),
        (LAYER_NORM, "weight", 1),  # of another format
        (LAYER_NORM, "bias", 7),  # of 32 values for 64
        (LAYER_NORM, "dst", 3),
        (ACTIVATE, "activation", 6),
        (ACTIVATE, "dst", 3),
        (SCALE, "src", 6),
        (ADD, "kind", 16),
        (ADD, "kind", 2**32 - 1),
    ],
)
def test_operations_that_do_not_fit(library: ctypes.CDLL, op: int, name: str, value: float) -> None:
    assert changed_op(op, name, value).check(library) == BAD_MODEL | op << 8


def test_an_input_that_is_not_whole_blocks_cannot_be_quantized(library: ctypes.CDLL) -> None:
    plan = KernelPlan()
    plan.op(Quantize, src=plan.buffer(1, 48))
    assert plan.check(library) == BAD_MODEL


@pytest.mark.parametrize(
    "before",
    [[], ["other"], ["input", "other"], ["input", "change"], ["gather"]],
)
def test_a_product_whose_input_was_not_quantized(library: ctypes.CDLL, before: list[str]) -> None:
    weight, floats = random_weight("Q8_0", 32, 64), random_weight("F16", 32, 64)
    plan = KernelPlan()
    x, other, dst = plan.buffer(1, 64), plan.buffer(1, 64), plan.buffer(1, 32)
    routes, tensor, plain = plan.buffer(1, 2), *(plan.tensor(w.struct()) for w in (weight, floats))
    steps: dict[str, Callable[[], None]] = {
        "input": lambda: plan.op(Quantize, src=x),
        "other": lambda: plan.op(Quantize, src=other),
        "change": lambda: plan.op(Scale, src=other, dst=x, factor=2.0),
        "gather": lambda: plan.op(
            GatherExperts, src=x, routes=routes, n_experts=1, n_in=64, quantized=1
        ),
    }
    for name in before:
        steps[name]()
    plan.op(Linear, src=x, dst=dst, weight=plain)
    assert plan.check(library) == 0
    plan.op(Linear, src=x, dst=dst, weight=tensor)
    assert plan.check(library) == BAD_MODEL | len(plan.ops) - 1 << 8
    del plan.ops[-1]
    steps["input"]()
    plan.op(Scale, src=x, dst=other, factor=2.0)
    plan.op(Linear, src=x, dst=dst, weight=tensor)
    plan.op(Linear, src=x, dst=dst, weight=tensor)
    assert plan.check(library) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("src", 1), ("routes", 3), ("n_experts", 3), ("n_in", 32), ("quantized", 0)],
)
def test_experts_whose_inputs_were_gathered_otherwise(
    library: ctypes.CDLL, name: str, value: int
) -> None:
    plan = KernelPlan()
    weight = random_weight("Q8_0", 2 * 32, 64)
    x, _other, routes, _routes, dst = (plan.buffer(1, n) for n in (64, 64, 4, 4, 64))
    plan.op(GatherExperts, src=x, routes=routes, n_experts=2, n_in=64, quantized=1)
    tensor = plan.tensor(weight.struct())
    plan.op(ExpertLinear, src=x, routes=routes, dst=dst, weight=tensor, n_experts=2)
    assert plan.check(library) == 0
    set_operand(plan.ops[0], GatherExperts, name, value)
    assert plan.check(library) == BAD_MODEL | 1 << 8
    del plan.ops[0]
    assert plan.check(library) == BAD_MODEL


def test_formats_without_kernels(library: ctypes.CDLL) -> None:
    for tensor, op in ((0, EMBED), (1, Q), (5, LOGITS)):
        tiny = TinyModel()
        tiny.tensors[tensor].format = 4  # a number that ggml has withdrawn
        assert tiny.check(library) == BAD_FORMAT | op << 8


def test_unused_numbers_may_be_anything(library: ctypes.CDLL) -> None:
    tiny = TinyModel()
    tiny.ops[STORE].dst = tiny.ops[QUANTIZE].dst = 12345
    for index, operation in enumerate(tiny.plan.operations):
        tiny.ops[index].args[len(arguments(operation)) :] = [2**31 - 1] * (
            len(tiny.ops[index].args) - len(arguments(operation))
        )
    assert tiny.check(library) == 0
    assert tiny.forward(library, tiny.batch()) == 0
    with Pool(library, 2) as pool:
        assert tiny.forward(library, tiny.plan.batch(1, 0, [0]), pool) == 0


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("page_tokens", 0),
        ("page_tokens", 32),
        ("page_tokens", 96),
        ("page_tokens", 128),  # more than a page holds
        ("page_tokens", 1 << 31),
        ("kv_format", 2),
        ("page_bytes", 0),
        ("page_bytes", 8191),
        ("page_bytes", 1 << 63),
        ("n_ops", 2**32 - 1),
        ("n_tensors", 2**32 - 1),
        ("n_constants", 2**32 - 1),
        ("n_buffers", 2**32 - 1),
        ("n_kv_layers", 2**32 - 1),
        ("ops", 0),
        ("tensors", 0),
        ("constants", 0),
        ("buffers", 0),
        ("kv_layers", 0),
    ],
)
def test_models_that_do_not_fit(library: ctypes.CDLL, member: str, value: int) -> None:
    tiny = TinyModel()
    setattr(tiny.model, member, value)
    assert tiny.check(library) == BAD_MODEL


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("k_offset", 4096 + 64),
        ("k_offset", 1),
        ("v_offset", 4096 + 64),
        ("v_offset", 2**64 - 64),
        ("n_heads", 0),
        ("n_heads", 3),
        ("n_heads", 2**32 - 1),
        ("k_dim", 0),
        ("k_dim", 2**32 - 1),
        ("v_dim", 0),
        ("v_dim", 33),
    ],
)
def test_cache_layers_that_do_not_fit(library: ctypes.CDLL, member: str, value: int) -> None:
    tiny = TinyModel()
    setattr(tiny.layers[0], member, value)
    assert tiny.check(library) & 0xFF == BAD_MODEL


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda batch: setattr(batch, "n_tokens", 0), BAD_BATCH),
        (lambda batch: setattr(batch, "n_tokens", N_TOKENS + 1), BAD_BATCH),
        (lambda batch: setattr(batch, "n_tokens", 2**32 - 1), BAD_BATCH),
        (lambda batch: setattr(batch, "n_outputs", 3), BAD_BATCH),
        (lambda batch: setattr(batch, "n_outputs", 2**32 - 1), BAD_BATCH),
        (lambda batch: setattr(batch, "n_sequences", 0), BAD_BATCH),
        (lambda batch: setattr(batch, "sequences", 0), BAD_BATCH),
        (lambda batch: setattr(batch, "tokens", 0), BAD_BATCH),
        (lambda batch: setattr(batch, "outputs", 0), BAD_BATCH),
    ],
)
def test_batches_that_do_not_fit(
    library: ctypes.CDLL, change: Callable[[abi.Batch], None], status: int
) -> None:
    tiny = TinyModel()
    assert tiny.check(library) == 0
    batch = tiny.batch()
    change(batch)
    assert tiny.forward(library, batch) == status


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("n_pages", 1),
        ("position", 128 - N_TOKENS + 1),
        ("position", 2**32 - 1),
        ("pages", 0),
        ("n_tokens", 0),
        ("n_tokens", N_TOKENS - 1),
        ("n_tokens", N_TOKENS + 1),
        ("n_tokens", 2**32 - 1),
        ("first_token", 1),
        ("first_token", 2**32 - 1),
    ],
)
def test_sequences_that_do_not_fit(library: ctypes.CDLL, member: str, value: int) -> None:
    tiny = TinyModel()
    assert tiny.check(library) == 0
    batch = tiny.batch()
    setattr(tiny.plan._sequence_table[0], member, value)
    assert tiny.forward(library, batch) == BAD_BATCH


def test_tokens_that_are_not_those_of_the_sequences(library: ctypes.CDLL) -> None:
    """Two sequences: every token belongs to one, in order."""
    tiny = TinyModel()
    assert tiny.check(library) == 0
    batch = tiny.batch()
    pages, n_pages = tiny.plan._sequence_table[0].pages, len(tiny.plan.pages)
    for first, second, fits in (
        ((0, 2), (2, 3), True),
        ((0, 4), (4, 1), True),
        ((0, 2), (2, 2), False),
        ((0, 2), (2, 4), False),
        ((0, 2), (3, 2), False),
        ((0, 5), (5, 0), False),
        ((0, 2), (2, 2**32 - 1), False),
        ((2, 3), (0, 2), False),
    ):
        table = (abi.Sequence * 2)(
            abi.Sequence(pages, n_pages, 62, *first), abi.Sequence(pages, n_pages, 80, *second)
        )
        batch.sequences, batch.n_sequences = ctypes.addressof(table), 2
        assert tiny.forward(library, batch) == (0 if fits else BAD_BATCH)


def test_positions_without_a_row(library: ctypes.CDLL) -> None:
    plan = KernelPlan()
    weight = random_weight("Q8_0", 12, 32)
    dst = plan.buffer(5, 32)
    plan.op(PositionEmbed, dst=dst, weight=plan.tensor(weight.struct()))
    assert plan.check(library) == 0
    assert plan.run(library, 5, position=7) == 0
    for position in (8, 12, 2**31 - 8):
        assert plan.run(library, 5, position=position) == BAD_BATCH
    plan.tensors[0].format = 4  # a number that ggml has withdrawn
    assert plan.check(library) == BAD_FORMAT


def test_outputs_tokens_pages_and_scratch_that_do_not_fit(library: ctypes.CDLL) -> None:
    tiny = TinyModel()
    assert tiny.check(library) == 0
    for outputs in ([4, 1], [1, 1], [1, N_TOKENS]):
        assert tiny.forward(library, tiny.plan.batch(N_TOKENS, 62, outputs)) == BAD_BATCH
    for token in (-1, VOCABULARY, 2**31 - 1):
        batch = tiny.plan.batch(N_TOKENS, 62, [1], [0, 0, token, 0, 0])
        assert tiny.forward(library, batch) == BAD_TOKEN
    assert tiny.forward(library, tiny.batch(), missing=1) == BAD_SCRATCH
    for address in (0, tiny.plan.pages[1].address + 4):
        batch = tiny.batch()
        tiny.plan._page_table[1] = address
        assert tiny.forward(library, batch) == BAD_BATCH
    tiny.buffers[0].data += 4
    assert tiny.forward(library, tiny.batch()) == BAD_BATCH


def test_products_and_attention_are_nobodys_own(library: ctypes.CDLL) -> None:
    """A buffer that each thread computes by itself has no shares to wait for."""
    for op in (Q, K, V, ATTENTION, LOGITS):
        tiny = TinyModel()
        tiny.buffers[tiny.ops[op].dst].replicated = 1
        assert tiny.check(library) == BAD_MODEL | op << 8
    tiny = TinyModel()
    tiny.buffers[tiny.ops[TABLE].dst].replicated = 1
    assert tiny.check(library) == 0
