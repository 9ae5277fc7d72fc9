"""Several sequences in one forward pass compute what each computes alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from executors import kernel_executor, numpy_executor
from gguf_files import write_tiny_gemma3, write_tiny_llama
from linear_driver import libraries
from numpy.typing import NDArray

from oxillama_web.backends.api import Executor, Outputs
from oxillama_web.backends.cache import SequenceCache
from oxillama_web.errors import InvalidRequestError
from oxillama_web.gguf.dequantize import dequantize
from oxillama_web.gguf.reader import GGUFFile

Array = NDArray[np.float32]
# how many tokens each of six sequences gets, call by call; 0: it is left out of that pass
CALLS = [(3, 40, 1, 0, 70, 5), (1, 1, 1, 1, 1, 1), (0, 2, 1, 300, 0, 17), (1, 0, 1, 1, 2, 1)]


@pytest.fixture(scope="module", params=[write_tiny_llama, write_tiny_gemma3])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GGUFFile:
    path: Path = tmp_path_factory.mktemp("batch") / "tiny.gguf"
    write: Callable[..., None] = request.param
    write(path, format="Q4_0", with_vocabulary=False, context_length=512)
    return GGUFFile(path.read_bytes())


def kernels(model: GGUFFile, variant: str, n_threads: int, kv: str) -> Executor:
    return kernel_executor(model, variant, n_threads, kv)


def rows(logits: memoryview, n_rows: int) -> Array:
    return np.array(logits, np.float32).reshape(n_rows, -1)


def run(executor: Executor, outputs: Outputs, *, together: bool) -> list[list[Array]]:
    """Every sequence's logits, pass by pass."""
    rng = np.random.default_rng(0)
    caches: list[SequenceCache] = [executor.new_cache() for _ in CALLS[0]]
    results: list[list[Array]] = [[] for _ in caches]
    for counts in CALLS:
        members = [i for i, count in enumerate(counts) if count]
        batch = [(caches[i], rng.integers(0, 300, counts[i]).tolist()) for i in members]
        n_rows = [len(tokens) if outputs == "all" else 1 for _, tokens in batch]
        if together:
            logits = rows(executor.forward_batch(batch, outputs), sum(n_rows))
            parts = np.split(logits, np.cumsum(n_rows)[:-1])
        else:
            parts = [
                rows(executor.forward(cache, tokens, outputs), n)
                for (cache, tokens), n in zip(batch, n_rows, strict=True)
            ]
        for i, part in zip(members, parts, strict=True):
            results[i].append(part)
    assert [cache.length for cache in caches] == [
        sum(counts) for counts in zip(*CALLS, strict=True)
    ]
    return results


@pytest.mark.parametrize("outputs", ["last", "all"])
@pytest.mark.parametrize("kv", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("variant", libraries())
def test_kernels_compute_the_same_bits(
    model: GGUFFile, variant: str, n_threads: int, kv: str, outputs: Outputs
) -> None:
    executor = kernels(model, variant, n_threads, kv)
    alone = run(executor, outputs, together=False)
    batched = run(executor, outputs, together=True)
    executor.close()
    for expected, found in zip(alone, batched, strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_numpy_agrees(model: GGUFFile) -> None:
    executor = numpy_executor(model)
    alone = run(executor, "all", together=False)
    batched = run(executor, "all", together=True)
    for expected, found in zip(alone, batched, strict=True):
        for one, other in zip(expected, found, strict=True):
            # matrix products of other sizes may add in another order
            assert np.abs(one - other).max() < 2e-5 * np.abs(one).max()


@pytest.fixture(params=["numpy", "kernels"])
def executor(model: GGUFFile, request: pytest.FixtureRequest) -> Executor:
    if request.param == "numpy":
        return numpy_executor(model)
    return kernels(model, libraries()[0], 1, "f16")


def test_hidden_states_are_what_the_output_head_takes(model: GGUFFile, executor: Executor) -> None:
    tokens = list(range(20))
    hidden = rows(executor.hidden_states([(executor.new_cache(), tokens)], "all"), 20)
    logits = rows(executor.forward(executor.new_cache(), tokens, "all"), 20)
    name = "output.weight" if "output.weight" in model.tensors else "token_embd.weight"
    info = model.tensors[name]
    head = dequantize(model.tensor_data(name), info.format, math.prod(info.shape))
    expected = hidden @ head.reshape(info.shape[::-1]).T
    # the kernels round their inputs to 8 bits
    assert np.abs(logits - expected).max() < 0.02 * np.abs(expected).max()


def test_hidden_states_of_many_tokens_need_no_room_for_logits(model: GGUFFile) -> None:
    executor = kernels(model, libraries()[0], 1, "f16")
    before = executor.memory_bytes
    executor.hidden_states([(executor.new_cache(), [1] * 500)], "all")
    cache = executor.new_cache()
    without_logits = executor.memory_bytes
    executor.forward(cache, [1] * 500, "all")
    vocabulary = model.tensors["token_embd.weight"].shape[1]
    assert executor.memory_bytes - without_logits >= 499 * 4 * vocabulary
    assert without_logits > before


def test_batches_that_make_no_sense(executor: Executor) -> None:
    one, other = executor.new_cache(), executor.new_cache()
    batches: list[list[tuple[SequenceCache, list[int]]]] = [
        [],
        [(one, [])],
        [(one, [1]), (other, [])],
        [(one, [1]), (other, [2]), (one, [3])],
        [(one, [1]), (other, [100_000])],
        [(one, [-1]), (other, [1])],
    ]
    for batch in batches:
        with pytest.raises(InvalidRequestError):
            executor.forward_batch(batch, "last")
    assert one.length == other.length == 0
    assert len(executor.forward_batch([(one, [1]), (other, [2, 3])], "last")) % 2 == 0
    assert (one.length, other.length) == (1, 2)
