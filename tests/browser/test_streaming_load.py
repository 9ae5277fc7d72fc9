"""A model that is laid out and packed while it arrives, and the executor in a pool's memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_files import write_tiny_gemma3, write_tiny_llama
from native_pool import Download, NativePool

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig, errors
from oxillama_web.backends.kernels.abi import STATUS_POISONED_POOL
from oxillama_web.browser.streaming_load import ArrivingModel, ArrivingSource

GREEDY = SamplerConfig.greedy()


@pytest.fixture(scope="module", params=[write_tiny_llama, write_tiny_gemma3])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    request.param(path, format="Q4_0", width=64)
    return path.read_bytes()


def answer(engine: InferenceEngine) -> str:
    return engine.generate("abc abc", 12, sampler=GREEDY)


def expected(model: bytes) -> str:
    engine = InferenceEngine(EngineConfig(executor="kernels", num_threads=1))
    engine.load_model_from_bytes(model)
    return answer(engine)


def receive(model: bytes, step: int, pool: NativePool | None = None) -> tuple[InferenceEngine, int]:
    """An engine whose model came in pieces, and how many calls it took."""
    pool = pool or NativePool()
    download = Download(pool, model)
    arriving = ArrivingModel(pool, EngineConfig(), None)
    needed, calls = 0, 0
    for end in (*range(step, len(model), step), len(model)):
        download.go_on(end)
        if end >= needed:
            needed = arriving.receive(download.address, end, len(model))
            calls += 1
    assert needed == len(model)
    return arriving.engine, calls


@pytest.mark.parametrize("step", [1000, 4096, 1 << 20])
def test_a_model_in_pieces_answers_as_one_from_memory(
    model: bytes, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArrivingSource, "header_bytes", 512)
    engine, _ = receive(model, step)
    assert answer(engine) == expected(model)


def test_tensors_are_packed_long_before_the_last_byte(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArrivingSource, "header_bytes", 512)
    pool = NativePool()
    download = Download(pool, model)
    arriving = ArrivingModel(pool, EngineConfig(), None)
    packed = []
    needed = 0
    for end in range(256, len(model), 256):
        download.go_on(end)
        if end >= needed:
            before = bytes(pool.view(download.address, end).to_bytes())
            needed = arriving.receive(download.address, end, len(model))
            packed.append(before != bytes(pool.view(download.address, end).to_bytes()))
    # one call for each matrix, or nearly so
    assert sum(packed) > 3


def test_a_broken_header_is_refused_before_the_rest_arrives(model: bytes) -> None:
    broken = b"GGUF" + bytes(len(model) - 4)
    pool = NativePool()
    download = Download(pool, broken)
    download.go_on(len(broken) // 2)
    arriving = ArrivingModel(pool, EngineConfig(), None)
    arriving._needed = 64
    with pytest.raises(errors.OxiLlamaError):
        arriving.receive(download.address, download.n_received, len(broken))


def test_a_tensor_that_planning_reads_may_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scaled.gguf"
    write_tiny_llama(path, rope_divisors=True)
    data = path.read_bytes()
    monkeypatch.setattr(ArrivingSource, "header_bytes", 512)
    engine, calls = receive(data, 512)
    assert answer(engine) == expected(data)
    assert calls > 2


def test_memory_comes_back_when_the_cache_is_cut(model: bytes) -> None:
    pool = NativePool()
    engine, _ = receive(model, 1 << 20, pool)
    before = pool.n_free
    engine.generate("abc " * 60, 2, sampler=GREEDY)
    used = pool.n_free
    engine.reset()
    assert used < pool.n_free <= before


def test_no_room_beside_the_model_is_told_in_words(model: bytes) -> None:
    with pytest.raises(errors.OutOfMemoryError, match="smaller contextSize"):
        receive(model, 1 << 20, NativePool(len(model) + 5000))


def test_a_lost_thread_ends_in_one_clear_error(model: bytes) -> None:
    pool = NativePool()
    engine, _ = receive(model, 1 << 20, pool)
    pool.status = STATUS_POISONED_POOL
    with pytest.raises(errors.ThreadsLostError, match="load the model again"):
        answer(engine)


def test_close_lets_go_of_the_pool(model: bytes) -> None:
    pool = NativePool()
    engine, _ = receive(model, 1 << 20, pool)
    engine.close()
    assert pool.closed
