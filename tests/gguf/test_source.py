"""Where a model's bytes are: oxillama_web/gguf/source.py, and samples of them."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
from gguf_files import split_model, write_tiny_llama

from oxillama_web.backends.kernels.memory import Memory
from oxillama_web.errors import ModelFormatError
from oxillama_web.gguf.fingerprint import WeightSamples
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.gguf.shards import read_parts
from oxillama_web.gguf.source import FileSource, MemorySource, ModelSource, NotHereYetError


class PartialSource(MemorySource):
    """A model of which only the first bytes are here."""

    header_bytes = 64

    def __init__(self, data: bytes, n_received: int) -> None:
        super().__init__(data)
        self.n_received, self.header_bytes = n_received, 64

    def read(self, offset: int, n_bytes: int) -> memoryview:
        if offset + n_bytes > self.n_received:
            raise NotHereYetError(offset + n_bytes)
        return super().read(offset, n_bytes)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "tiny.gguf"
    write_tiny_llama(path)
    return path


def sources(path: Path) -> list[ModelSource]:
    return [MemorySource(path.read_bytes()), FileSource(path)]


def test_all_sources_read_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSource, "header_bytes", 100)
    data = path.read_bytes()
    expected = GGUFFile(data)
    for source in sources(path):
        assert source.n_bytes == source.n_received == len(data)
        assert source.read(7, 1000) == data[7:1007]
        block = Memory(256)
        source.read_into(block, 50, 1000, 100)
        assert block.read(0, 256) == bytes(50) + data[1000:1100] + bytes(106)
        gguf = source.open()
        assert gguf.tensors == expected.tensors
        assert dict(gguf.metadata) == dict(expected.metadata)
        for name in expected.tensors:
            assert gguf.tensor_data(name) == expected.tensor_data(name)


def test_weights_may_be_packed_only_in_memory_that_is_handed_over(path: Path) -> None:
    data = path.read_bytes()
    assert MemorySource(bytearray(data), consume=True).address is not None
    for kept in (MemorySource(bytearray(data)), MemorySource(data, consume=True), FileSource(path)):
        assert kept.address is None


def test_a_header_that_has_not_arrived_says_how_much_it_needs(path: Path) -> None:
    data = path.read_bytes()
    n_header = GGUFFile(data).data_start
    n_received, tries = 0, 0
    while True:
        try:
            gguf = PartialSource(data, n_received).open()
            break
        except NotHereYetError as missing:
            assert n_received < missing.end <= max(2 * n_received, 64)
            n_received, tries = missing.end, tries + 1
    assert gguf.data_start == n_header <= n_received
    assert tries == (n_received // 64).bit_length()


def test_a_part_that_has_not_begun_to_arrive(path: Path, tmp_path: Path) -> None:
    data, starts = read_parts(split_model(path, tmp_path, 2))
    source = PartialSource(bytes(data), starts[1] - 10)
    source.starts = starts
    with pytest.raises(NotHereYetError) as missing:
        source.open()
    assert missing.value.end == starts[1] + 64


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "nothing.gguf").touch()
    with pytest.raises(ModelFormatError, match=r"nothing\.gguf is empty"):
        FileSource(tmp_path / "nothing.gguf")


def test_samples_are_taken_as_weights_arrive_and_let_go_of_the_source(path: Path) -> None:
    data = path.read_bytes()
    weights = GGUFFile(data).tensors
    expected = WeightSamples(weights, MemorySource(data)).values()
    for info, sample in zip(weights.values(), expected, strict=True):
        tensor = data[info.offset : info.offset + info.nbytes]
        assert 0 < len(sample) <= 256 and sample in tensor
    source = MemorySource(data)
    samples = WeightSamples(weights, source)
    alive = weakref.ref(source)
    del source
    for n_received in range(0, len(data), 1000):
        samples.take(n_received)
    assert alive() is not None
    samples.take(len(data))
    assert alive() is None
    assert samples.values() == expected
