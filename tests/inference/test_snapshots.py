"""Conversations that are kept outside of the model, and caches that share their beginning."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from gguf_files import write_tiny_llama
from native_pool import Download, NativePool

from oxillama_web import (
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    OffloadPolicy,
    SamplerConfig,
)
from oxillama_web.browser.streaming_load import ArrivingModel
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.inference.snapshots import KVSnapshot

GREEDY = SamplerConfig.greedy()
LONG = [1 + index * 13 % 250 for index in range(600)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
    write_tiny_llama(path, context_length=1024, chat_template=template)
    return path


@pytest.fixture(params=["numpy", "kernels"])
def executor(request: pytest.FixtureRequest) -> str:
    return request.param


def load(path: Path, **config: object) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(model_path=str(path), num_threads=1, **config))
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


@pytest.mark.parametrize("kv_cache_type", ["f16", "f32", "q8_0"])
def test_a_conversation_goes_on_in_another_engine(
    tiny: Path, executor: str, kv_cache_type: str
) -> None:
    engine = load(tiny, executor=executor, kv_cache_type=kv_cache_type)
    engine.generate(LONG, 5, sampler=GREEDY)
    file = engine.kv_snapshot().to_bytes()
    expected = engine.generate([], 20, sampler=GREEDY)
    other = load(tiny, executor=executor, kv_cache_type=kv_cache_type)
    other.kv_restore(KVSnapshot.from_bytes(file))
    assert other.kv_cache_seq_len == 604
    assert other.generate([], 20, sampler=GREEDY) == expected
    assert other.metrics_snapshot().prompt_tokens == 1


def test_what_does_not_fit_is_refused_and_nothing_is_lost(
    tiny: Path, tmp_path: Path, executor: str
) -> None:
    engine = load(tiny, executor=executor)
    engine.prefill([1, 2, 3])
    snapshot = engine.kv_snapshot()
    other_path = tmp_path / "other.gguf"
    write_tiny_llama(other_path, context_length=1024, n_layers=3)
    other = load(other_path, executor=executor)
    other.prefill([4, 5])
    with pytest.raises(InvalidRequestError, match="tiny llama"):
        other.kv_restore(snapshot)
    assert other.kv_cache_seq_len == 2
    for data in (snapshot.data[:-1], b""):
        broken = KVSnapshot(
            snapshot.model, snapshot.fingerprint, snapshot.layout, snapshot.tokens, (), data
        )
        with pytest.raises(InvalidRequestError, match="3 tokens"):
            engine.kv_restore(broken)
    twin = load(tiny, executor="kernels" if executor == "numpy" else "numpy")
    with pytest.raises(InvalidRequestError, match="laid out"):
        twin.kv_restore(snapshot)
    assert engine.kv_cache_seq_len == 3


def changed(path: Path, tensor: str) -> bytes:
    """The file with another byte in the middle of a tensor."""
    file = bytearray(path.read_bytes())
    info = GGUFFile(file).tensors[tensor]
    file[info.offset + info.nbytes // 2] ^= 1
    return bytes(file)


@pytest.mark.parametrize(
    "tensor", ["token_embd.weight", "blk.1.ffn_down.weight", "blk.0.attn_norm.weight"]
)
def test_another_model_of_the_same_shape_is_refused(tiny: Path, executor: str, tensor: str) -> None:
    engine = load(tiny, executor=executor)
    engine.prefill([1, 2, 3])
    snapshot = engine.kv_snapshot()
    other = InferenceEngine(EngineConfig(num_threads=1, executor=executor))
    other.load_model_from_bytes(changed(tiny, tensor))
    with pytest.raises(InvalidRequestError, match="in another file"):
        other.kv_restore(snapshot)


def test_a_snapshot_moves_between_all_ways_of_loading(tiny: Path) -> None:
    file = tiny.read_bytes()
    engines = [
        load(tiny, executor="kernels", offload_policy=policy)
        for policy in (
            OffloadPolicy.mmap(),
            OffloadPolicy.none(),
            OffloadPolicy.budget(len(file) * 3 // 4),
        )
    ]
    from_bytes = InferenceEngine(EngineConfig(executor="kernels", num_threads=1))
    from_bytes.load_model_from_bytes(file)
    arrived = arrive(file)
    answers = set()
    for engine in (*engines, from_bytes, arrived):
        engine.tokenizer.eog_ids = frozenset()
        for other in (*engines, from_bytes, arrived):
            other.reset()
            other.prefill(LONG[:40])
            engine.kv_restore(KVSnapshot.from_bytes(other.kv_snapshot().to_bytes()))
            answers.add(engine.generate([5], 8, sampler=GREEDY))
    assert len(answers) == 1


def arrive(file: bytes) -> InferenceEngine:
    """An engine as a page has it, whose file came in pieces."""
    pool = NativePool()
    download = Download(pool, file)
    arriving = ArrivingModel(pool, EngineConfig(), None)
    for end in (*range(5000, len(file), 5000), len(file)):
        download.go_on(end)
        arriving.receive(download.address, end, len(file))
    return arriving.engine


def test_damaged_files_are_refused(tiny: Path) -> None:
    engine = load(tiny)
    engine.prefill([1, 2, 3])
    file = engine.kv_snapshot().to_bytes()
    for index in (0, 5, 9, 30, len(file) // 2, len(file) - 1):
        broken = bytearray(file)
        broken[index] ^= 1
        with pytest.raises(InvalidRequestError, match="snapshot"):
            KVSnapshot.from_bytes(bytes(broken))
    for length in (0, 3, 15, 40, len(file) - 1):
        with pytest.raises(InvalidRequestError, match="snapshot"):
            KVSnapshot.from_bytes(file[:length])
    for header in (b"[]", b"{", b'{"tokens": [1]}', b'{"tokens": 1, "pending": []}'):
        content = b"OXKV\2\0\0\0" + len(header).to_bytes(4, "little") + header
        with pytest.raises(InvalidRequestError, match="header"):
            KVSnapshot.from_bytes(content + zlib.crc32(content).to_bytes(4, "little"))


def test_forks_go_their_own_ways(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor=executor)

    def fresh(tokens: list[int]) -> np.ndarray:
        return load(tiny, executor=executor).forward_prefill(tokens, 0)

    first = engine.conversation()
    first.prefill(LONG)
    forks = [first.fork(), first.fork()]
    for index, conversation in enumerate([*forks, first]):
        # back into a page that all of them share, and on in another way
        conversation.truncate(300)
        tail = [7 + index] * 9
        logits = conversation.forward_prefill(tail, 300)
        np.testing.assert_allclose(logits, fresh(LONG[:300] + tail), atol=1e-4)
    for index, conversation in enumerate([*forks, first]):
        expected = fresh(LONG[:300] + [7 + index] * 9 + [3])
        np.testing.assert_allclose(conversation.forward_one(3), expected, atol=1e-4)


def test_forks_hold_their_common_pages_once(tiny: Path) -> None:
    engine = load(tiny, executor="kernels")
    conversation = engine.conversation()
    conversation.prefill(LONG)
    before = engine.memory_bytes
    page = engine._model.executor.cache_bytes(1)
    forks = [conversation.fork() for _ in range(4)]
    assert engine.memory_bytes == before + 4 * page
    del forks
    assert engine.memory_bytes == before
    del conversation
    assert engine.memory_bytes == before - 3 * page


def test_a_chat_shares_what_another_conversation_has_computed(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor=executor)
    system = {"role": "system", "content": "the quick brown fox jumps over the lazy dog " * 9}
    messages = [system, {"role": "user", "content": "hello"}]
    list(engine.chat(messages, 3, sampler=GREEDY))
    other = [system, {"role": "user", "content": "good day"}]
    events = list(engine.conversation().chat_events(other, 5, sampler=GREEDY))
    assert events[0].n_total < 20
    assert engine.metrics_snapshot().cached_tokens > 50
    fresh = load(tiny, executor=executor).chat_events(other, 5, sampler=GREEDY)
    fresh_tokens = [event.token for event in fresh if event.phase == "decode"]
    assert [event.token for event in events if event.phase == "decode"] == fresh_tokens
