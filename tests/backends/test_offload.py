"""Models that run in less memory than their weights take, with the same output."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from gguf_files import write_tiny_gemma3, write_tiny_llama
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama_web import (
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    LayerPager,
    OffloadPolicy,
    OutOfMemoryError,
    UnsupportedModelError,
)
from oxillama_web.architectures import build_model
from oxillama_web.backends.kernels.abi import PANEL_ROWS
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.plan.weight_chunks import cut, paged_weights, split_large_products

TOKENS = list(range(5, 60))
BUDGET = 1_400_000


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4.5 MB: twelve layers, an output head of its own that is larger than a segment."""
    path = tmp_path_factory.mktemp("offload") / "llama.gguf"
    write_tiny_llama(path, n_layers=12, width=128, ffn=512, vocab=4000, format="Q8_0")
    return path


@pytest.fixture(scope="module")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tied embeddings."""
    path = tmp_path_factory.mktemp("offload") / "gemma3.gguf"
    write_tiny_gemma3(path, n_layers=7, width=128, ffn=512, vocab=6000, format="Q8_0")
    return path


def load(path: Path, policy: OffloadPolicy | None, executor: str = "kernels", n_threads: int = 1):
    engine = InferenceEngine(
        EngineConfig(
            model_path=str(path),
            executor=executor,
            num_threads=n_threads,
            offload_policy=policy,
            prefill_chunk_size=16,
        )
    )
    engine.load_model()
    return engine


POLICIES = {
    "budget": OffloadPolicy.budget(BUDGET),
    "pinned": OffloadPolicy.pinned_hot_set(1_800_000, True, True, 2, 1),
    "no prefetch": OffloadPolicy.pinned_hot_set(BUDGET, False, False, 0, 0),
    "far ahead": OffloadPolicy.pinned_hot_set(BUDGET, False, False, 0, 3),
    "all of it": OffloadPolicy.budget(100_000_000),
}


@pytest.mark.parametrize("model", ["llama", "gemma3"])
@pytest.mark.parametrize("policy", POLICIES)
def test_kernels_compute_the_same_bits(
    model: str, policy: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(model)
    expected = load(path, None)
    engine = load(path, POLICIES[policy], n_threads=2)
    np.testing.assert_array_equal(
        engine.forward_prefill(TOKENS, 0), expected.forward_prefill(TOKENS, 0)
    )
    for token in (7, 3000, 7):
        np.testing.assert_array_equal(engine.forward_one(token), expected.forward_one(token))
    pager = engine.layer_pager
    assert pager.peak_bytes <= POLICIES[policy].ram_bytes
    if policy != "all of it":
        assert path.stat().st_size > 1.4 * pager.peak_bytes
        assert pager.bytes_read > 2 * path.stat().st_size
        assert pager.n_pinned < pager.n_segments
        assert pager.n_pinned > 0 or policy == "far ahead"
    else:
        assert pager.bytes_read < path.stat().st_size
    engine.close()


@pytest.mark.parametrize("model", ["llama", "gemma3"])
def test_numpy_computes_the_same(model: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(model)
    expected = load(path, None, "numpy").forward_prefill(TOKENS, 0)
    engine = load(path, OffloadPolicy.budget(3_000_000), "numpy")
    np.testing.assert_allclose(engine.forward_prefill(TOKENS, 0), expected, rtol=1e-4, atol=1e-5)
    # float32 takes four times the bytes of the file
    assert engine.layer_pager.peak_bytes <= 3_000_000 < 4 * path.stat().st_size
    assert engine.memory_bytes <= 3_000_000


def test_what_is_to_be_pinned_is_pinned(llama: Path) -> None:
    engine = load(llama, OffloadPolicy.pinned_hot_set(BUDGET, False, True, 0, 0))
    weights = engine._model.executor._weights
    head = [n for n, s in enumerate(weights.segments) if "output" in "".join(s.weights)]
    assert head and set(head) <= weights.pinned
    engine = load(llama, OffloadPolicy.pinned_hot_set(BUDGET, False, False, 2, 0))
    weights = engine._model.executor._weights
    last = [n for n, s in enumerate(weights.segments) if s.layer in (10, 11)]
    assert last and set(last) <= weights.pinned


def test_a_model_in_bytes_takes_a_budget_too(llama: Path) -> None:
    engine = InferenceEngine(
        EngineConfig(executor="kernels", num_threads=1, offload_policy=OffloadPolicy.budget(BUDGET))
    )
    engine.load_model_from_bytes(llama.read_bytes())
    expected = load(llama, None)
    np.testing.assert_array_equal(
        engine.forward_prefill(TOKENS[:9], 0), expected.forward_prefill(TOKENS[:9], 0)
    )


def test_a_budget_that_is_too_small_says_what_is_needed(llama: Path) -> None:
    with pytest.raises(OutOfMemoryError, match="needs at least"):
        load(llama, OffloadPolicy.budget(100_000))
    with pytest.raises(InvalidRequestError, match="ram_bytes"):
        OffloadPolicy.budget(0)


def test_the_pager_can_be_changed(llama: Path) -> None:
    engine = load(llama, OffloadPolicy.budget(BUDGET))
    expected = engine.forward_prefill(TOKENS, 0)
    pager = LayerPager(OffloadPolicy.budget(3_000_000))
    engine.set_layer_pager(pager)
    assert engine.layer_pager is pager
    assert engine.kv_cache_seq_len == 0
    np.testing.assert_array_equal(engine.forward_prefill(TOKENS, 0), expected)
    with pytest.raises(OutOfMemoryError):
        engine.set_layer_pager(LayerPager(OffloadPolicy.budget(50_000)))
    engine.reset()
    np.testing.assert_array_equal(engine.forward_prefill(TOKENS, 0), expected)
    whole = load(llama, None)
    assert whole.layer_pager is None
    with pytest.raises(InvalidRequestError, match="as a whole"):
        whole.set_layer_pager(pager)
    with pytest.raises(InvalidRequestError, match="budget"):
        LayerPager(OffloadPolicy.mmap())


def test_a_pager_given_before_the_model(llama: Path) -> None:
    engine = InferenceEngine(EngineConfig(model_path=str(llama), executor="kernels", num_threads=1))
    engine.set_layer_pager(LayerPager(OffloadPolicy.budget(BUDGET)))
    engine.load_model()
    assert engine.layer_pager.peak_bytes <= BUDGET
    # the pager of another model counts anew
    engine.load_model()
    assert engine.layer_pager.peak_bytes <= BUDGET


@pytest.mark.parametrize("executor", ["kernels", "numpy"])
def test_adapters_are_refused_and_clearing_none_is_not(llama: Path, executor: str) -> None:
    engine = load(llama, OffloadPolicy.budget(3_000_000), executor)
    engine.clear_loras()
    with pytest.raises(UnsupportedModelError, match="budget"):
        engine._model.executor.use_plan(engine._model.plan, {})


def test_tokens_outside_of_the_vocabulary_are_refused(llama: Path) -> None:
    engine = load(llama, OffloadPolicy.budget(BUDGET))
    executor = engine._model.executor
    for token in (-1, 4000):
        with pytest.raises(InvalidRequestError, match="vocabulary"):
            executor.forward(executor.new_cache(), [1, token], "last")


def test_a_file_that_goes_short_is_one_error_and_leaves_no_thread(
    llama: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(llama.read_bytes())
    before = set(threading.enumerate())
    engine = load(path, OffloadPolicy.budget(BUDGET))
    expected = engine.forward_prefill(TOKENS, 0)
    engine.reset()
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(len(content) // 2)
    with pytest.raises(OSError, match="ends before"):
        for _ in range(2):
            engine.forward_prefill(TOKENS, 0)
    path.write_bytes(content)
    engine.reset()
    np.testing.assert_array_equal(engine.forward_prefill(TOKENS, 0), expected)
    engine.close()
    new = set(threading.enumerate()) - before
    assert not [thread for thread in new if thread.name.startswith("oxillama-pager")]


@given(st.integers(1 << 12, 1 << 20))
@settings(max_examples=30, deadline=None)
def test_segments_cover_the_plan_once(llama: Path, limit: int) -> None:
    gguf = GGUFFile(llama.read_bytes())
    plan = split_large_products(build_model(gguf)[1], limit, PANEL_ROWS)
    paged = paged_weights(plan, ())
    segments = cut(plan, paged, limit)
    assert [s.first_op for s in segments] == [
        sum(s.n_ops for s in segments[:n]) for n in range(len(segments))
    ]
    assert sum(s.n_ops for s in segments) == len(plan.ops)
    assert plan.n_hidden_ops in {s.first_op for s in segments}
    assert {name for s in segments for name in s.weights} == paged
    panel = 16 * max(info.nbytes // info.shape[-1] for info in plan.weights.values())
    assert all(s.n_bytes <= max(limit, panel) or s.n_ops == 1 for s in segments)


@pytest.mark.slow
def test_gemma_runs_in_64_mb(gemma3_path: Path) -> None:
    """A file of 253 MB, with an embedding of 178 MB that is the output head too."""
    engine = load(gemma3_path, OffloadPolicy.budget(64_000_000), n_threads=2)
    whole = load(gemma3_path, None, n_threads=2)
    tokens = engine.tokenize("The capital of France is Paris, and the capital of Italy is")
    np.testing.assert_array_equal(
        engine.forward_prefill(tokens, 0), whole.forward_prefill(tokens, 0)
    )
    for _ in range(3):
        logits = engine.forward_one(9079)
        np.testing.assert_array_equal(logits, whole.forward_one(9079))
    assert engine.layer_pager.peak_bytes <= 64_000_000
    assert engine.memory_bytes < 80_000_000
