"""Models and batches that do not fit are refused, each for its reason."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
from linear_driver import Block, load, random_weight
from ops_driver import F16, KernelPlan, Pool

from oxillama_web.backends.kernels import abi

BAD_MODEL, BAD_FORMAT, BAD_BATCH, BAD_TOKEN, BAD_SCRATCH = 1, 2, 3, 4, 5
N_TOKENS, VOCABULARY = 5, 40
# the operations of tiny_model
EMBED, TABLE, NORM, Q, K, V, ROPE, STORE, ATTENTION, OUT, ADD, GLU, SELECT, LOGITS, CAP = range(15)
LAYER_NORM, ACTIVATE, SCALE = range(15, 18)


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
        plan.op(abi.EMBED, dst=x, tensor=(embedding,), f=(1.0,))
        plan.op(abi.ROPE_TABLE, dst=table, tensor=(frequencies, frequencies), i=(1,))
        plan.op(abi.RMS_NORM, src=(x,), dst=h, tensor=(norm,), i=(64,), f=(1e-5,))
        plan.op(abi.LINEAR, src=(h,), dst=queries, tensor=(q,))
        plan.op(abi.LINEAR, src=(h,), dst=keys, tensor=(k, bias), barrier=0)
        plan.op(abi.LINEAR, src=(h,), dst=values, tensor=(v,), barrier=0)
        plan.op(abi.ROPE, src=(queries, table), dst=queries, i=(16, 16, 1))
        plan.op(abi.KV_STORE, src=(keys, values), i=(layer,))
        plan.op(abi.ATTENTION, src=(queries,), dst=h, i=(layer, 4, 3), f=(0.25, 5.0))
        plan.op(abi.LINEAR, src=(h,), dst=queries, tensor=(out,))
        plan.op(abi.ADD, src=(x, queries), dst=x, f=(1.0,))
        plan.op(abi.GLU, src=(x, h), dst=x, i=(1,))
        plan.op(abi.SELECT_ROWS, src=(x,), dst=last)
        plan.op(abi.LINEAR, src=(last,), dst=logits, tensor=(head,))
        plan.op(abi.SOFTCAP, src=(logits,), dst=logits, f=(5.0,))
        plan.op(abi.LAYER_NORM, src=(x,), dst=h, tensor=(norm, norm), i=(32,), f=(1e-5,))
        plan.op(abi.ACTIVATE, src=(h,), dst=x, i=(1,))
        plan.op(abi.SCALE, src=(x,), dst=x, f=(0.5,))
        self.model = plan.model()
        self.tensors, self.constants, self.buffers, self.ops, self.layers = plan._tables

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


def changed_op(index: int, member: str, value: int, place: int | None = None) -> TinyModel:
    tiny = TinyModel()
    if place is None:
        setattr(tiny.ops[index], member, value)
    else:
        getattr(tiny.ops[index], member)[place] = value
    return tiny


@pytest.mark.parametrize("number", [-1, -(2**31), 8, 9, 2**31 - 1])
def test_numbers_outside_of_the_tables(library: ctypes.CDLL, number: int) -> None:
    """There are 8 buffers and 8 tensors, and fewer constants and layers."""
    places: list[tuple[int, str, int | None]] = []
    for op in range(18):
        if op != STORE:
            places.append((op, "dst", None))
        if op not in (EMBED, TABLE):
            places.append((op, "src", 0))
        if op in (ROPE, STORE, ADD, GLU):
            places.append((op, "src", 1))
        if op in (STORE, ATTENTION):
            places.append((op, "i", 0))
        if op in (EMBED, TABLE, Q, K, V, OUT, LOGITS, LAYER_NORM):
            places.append((op, "tensor", 0))
    for op, member, place in places:
        tiny = changed_op(op, member, number, place)
        assert tiny.check(library) == BAD_MODEL | op << 8, (op, member, place)


@pytest.mark.parametrize(
    ("op", "member", "place", "value"),
    [
        (NORM, "i", 0, 0),
        (NORM, "i", 0, 63),
        (NORM, "i", 0, 32),  # the weight has 64
        (NORM, "i", 0, -64),
        (NORM, "tensor", 0, 7),  # of 32 values
        (NORM, "tensor", 0, 1),  # no vector
        (NORM, "dst", None, 6),  # of other rows
        (Q, "dst", None, 1),  # its own input
        (Q, "dst", None, 3),  # of another width
        (Q, "src", 0, 6),
        (K, "tensor", 1, 6),  # a bias of 64 values for 32
        (TABLE, "tensor", 0, 1),  # of 64 values
        (TABLE, "tensor", 1, -1),
        (TABLE, "tensor", 1, 2),  # no vector
        (TABLE, "i", 0, 0),
        (TABLE, "dst", None, 6),
        (EMBED, "dst", None, 3),
        (EMBED, "dst", None, 6),
        (ROPE, "dst", None, 0),  # not in place
        (ROPE, "src", 1, 2),
        (ROPE, "i", 0, 0),
        (ROPE, "i", 0, 48),
        (ROPE, "i", 1, 15),
        (ROPE, "i", 1, 14),
        (ROPE, "i", 2, 2),
        (STORE, "src", 0, 0),
        (STORE, "src", 1, 0),
        (ATTENTION, "i", 1, 0),
        (ATTENTION, "i", 1, 3),
        (ATTENTION, "i", 1, 8),
        (ATTENTION, "i", 1, -4),
        (ATTENTION, "i", 2, -1),
        (ATTENTION, "i", 3, 1),  # with a window
        (ATTENTION, "i", 3, 2),
        (ATTENTION, "dst", None, 2),  # its own input
        (ATTENTION, "dst", None, 6),
        (ADD, "src", 1, 3),
        (ADD, "src", 1, 6),
        (GLU, "i", 0, 2),
        (GLU, "i", 0, -1),
        (SELECT, "src", 0, 6),
        (SELECT, "dst", None, 1),
        (CAP, "src", 0, 6),
        (ADD, "kind", None, 0),
        (LAYER_NORM, "i", 0, 0),
        (LAYER_NORM, "i", 0, -32),
        (LAYER_NORM, "i", 0, 48),
        (LAYER_NORM, "i", 0, 128),
        (LAYER_NORM, "tensor", 0, 1),  # of another format
        (LAYER_NORM, "tensor", 1, 7),  # a bias of 32 values for 64
        (LAYER_NORM, "dst", None, 3),
        (ACTIVATE, "i", 0, 2),
        (ACTIVATE, "dst", None, 3),
        (SCALE, "src", 0, 6),
        (ADD, "kind", None, 16),
        (ADD, "kind", None, 2**32 - 1),
    ],
)
def test_operations_that_do_not_fit(
    library: ctypes.CDLL, op: int, member: str, place: int | None, value: int
) -> None:
    assert changed_op(op, member, value, place).check(library) == BAD_MODEL | op << 8


def test_formats_without_kernels(library: ctypes.CDLL) -> None:
    for tensor, op in ((0, EMBED), (1, Q), (5, LOGITS)):
        tiny = TinyModel()
        tiny.tensors[tensor].format = 4  # a number that ggml has withdrawn
        assert tiny.check(library) == BAD_FORMAT | op << 8


def test_a_division_by_a_cap_of_zero(library: ctypes.CDLL) -> None:
    tiny = TinyModel()
    tiny.ops[CAP].f[0] = 0.0
    assert tiny.check(library) == BAD_MODEL | CAP << 8


def test_unused_numbers_may_be_anything(library: ctypes.CDLL) -> None:
    tiny = TinyModel()
    tiny.ops[STORE].dst = 12345
    tiny.ops[STORE].tensor[0] = tiny.ops[ADD].tensor[1] = tiny.ops[EMBED].src[0] = 2**31 - 1
    assert tiny.check(library) == 0
    assert tiny.forward(library, tiny.batch()) == 0


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
    plan.op(abi.POSITION_EMBED, dst=dst, tensor=(plan.tensor(weight.struct()),))
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
