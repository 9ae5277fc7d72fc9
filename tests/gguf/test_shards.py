"""Models in several files: oxillama_web/gguf/shards.py, from paths and from bytes that arrive."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_files import split_model, write_tiny_llama
from hypothesis import given
from hypothesis import strategies as st
from native_pool import Download, NativePool

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig, errors
from oxillama_web.backends.offload import OffloadPolicy
from oxillama_web.browser.streaming_load import ArrivingModel, ArrivingSource
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.gguf.shards import ALIGNMENT, part_paths, read_parts
from oxillama_web.gguf.source import MemorySource

GREEDY = SamplerConfig.greedy()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "tiny.gguf"
    write_tiny_llama(path)
    return path


@pytest.fixture(scope="module")
def parts(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return split_model(whole, tmp_path_factory.mktemp("parts"), 3)


def answer(engine: InferenceEngine) -> str:
    return engine.generate("abc abc", 12, sampler=GREEDY)


def loaded(path: Path, policy: OffloadPolicy | None = None) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(model_path=str(path), offload_policy=policy))
    engine.load_model()
    return engine


@pytest.mark.parametrize("policy", [OffloadPolicy.mmap(), OffloadPolicy.none()])
def test_the_first_of_several_files_loads_all(
    whole: Path, parts: list[Path], policy: OffloadPolicy
) -> None:
    assert answer(loaded(parts[0], policy)) == answer(loaded(whole))


def test_all_tensors_are_those_of_the_whole_file(whole: Path, parts: list[Path]) -> None:
    expected = GGUFFile(whole.read_bytes())
    merged = MemorySource(*read_parts(parts)).open()
    assert set(merged.tensors) == set(expected.tensors)
    for name, info in expected.tensors.items():
        assert merged.tensors[name].shape == info.shape
        assert bytes(merged.tensor_data(name)) == bytes(expected.tensor_data(name))


def test_a_first_file_may_hold_no_tensor(whole: Path, tmp_path: Path) -> None:
    parts = split_model(whole, tmp_path, 2, first_empty=True)
    assert answer(loaded(parts[0])) == answer(loaded(whole))


def test_parts_arrive_one_behind_the_other(
    whole: Path, parts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArrivingSource, "header_bytes", 512)
    data, starts = read_parts(parts)
    pool = NativePool()
    download = Download(pool, bytes(data))
    arriving = ArrivingModel(pool, EngineConfig(), None)
    needed = 0
    for end in (*range(4096, len(data), 4096), len(data)):
        download.go_on(end)
        if end >= needed:
            needed = arriving.receive(download.address, end, len(data), starts)
    assert answer(arriving.engine) == answer(loaded(whole))


def test_another_part_than_the_first_names_the_first(parts: list[Path]) -> None:
    with pytest.raises(errors.ModelFormatError, match=r"part 2 .*00001-of-00003"):
        loaded(parts[1])


def test_a_missing_part_is_named(parts: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / parts[0].name
    alone.write_bytes(parts[0].read_bytes())
    with pytest.raises(FileNotFoundError, match="00002-of-00003"):
        loaded(alone)


def test_bytes_of_one_part_are_not_a_model(parts: list[Path]) -> None:
    with pytest.raises(errors.ModelFormatError, match="in 3 files, and 1 of them came"):
        InferenceEngine(EngineConfig()).load_model_from_bytes(parts[0].read_bytes())


@pytest.mark.parametrize(
    ("order", "words"),
    [((0, 2, 1), "in their order"), ((1, 0, 2), "in their order"), ((0, 1), "in 3 files")],
)
def test_parts_that_do_not_fit_are_refused(
    parts: list[Path], order: tuple[int, ...], words: str
) -> None:
    with pytest.raises(errors.ModelFormatError, match=words):
        MemorySource(*read_parts([parts[index] for index in order])).open()


def test_a_part_of_another_model_is_refused(parts: list[Path], tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "other.gguf", n_layers=3)
    others = split_model(tmp_path / "other.gguf", tmp_path, 3)
    with pytest.raises(errors.ModelFormatError, match=r"two of the model.s files|hold \d+"):
        MemorySource(*read_parts([parts[0], others[1], parts[2]])).open()


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_parts_begin_at_aligned_places(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / str(index) for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    data, starts = read_parts(paths)
    for start, content in zip(starts, contents, strict=True):
        assert start % ALIGNMENT == 0
        assert data[start : start + len(content)] == content


def test_a_whole_model_is_one_path() -> None:
    assert part_paths(Path("model-v1-of-2.gguf")) == [Path("model-v1-of-2.gguf")]
