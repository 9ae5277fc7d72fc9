"""Conversations with models whose recurrent states cannot be cut: as those of any other model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from architecture_files import write_case
from lora_files import write_adapter
from native_pool import Download, NativePool

from oxillama_web import (
    DraftModel,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    OffloadPolicy,
    PromptLookup,
    SamplerConfig,
)
from oxillama_web.backends import recurrent
from oxillama_web.browser.streaming_load import ArrivingModel
from oxillama_web.inference.snapshots import KVSnapshot
from oxillama_web.inference.speculation import Drafter

GREEDY = SamplerConfig.greedy()
HYBRID = "lfm2"
CASES = (HYBRID, "qwen35", "mamba2")
TEXT = [4 + index * 37 % 250 for index in range(150)]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for case in CASES:
        write_case(folder / f"{case}.gguf", case, "Q8_0")
    return folder


@pytest.fixture(params=[(HYBRID, "numpy"), *((case, "kernels") for case in CASES)], ids="-".join)
def model(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture
def path(model: tuple[str, str], files: Path) -> Path:
    return files / f"{model[0]}.gguf"


@pytest.fixture
def executor(model: tuple[str, str]) -> str:
    return model[1]


def load(path: Path, executor: str = "kernels", **config: object) -> InferenceEngine:
    engine = InferenceEngine(
        EngineConfig(model_path=str(path), executor=executor, num_threads=1, **config)
    )
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


def answer(
    engine: InferenceEngine, prompt: Sequence[int], n: int = 12, **options: object
) -> list[int]:
    events = engine.events(prompt, n, sampler=GREEDY, **options)
    return [event.token for event in events if event.token is not None]


def computed(engine: InferenceEngine) -> list[int]:
    """The lengths of the forward passes from now on."""
    lengths: list[int] = []
    executor = engine._model.executor
    forward = executor.forward_batch

    def counted(batch, outputs):  # type: ignore[no-untyped-def]
        lengths.extend(len(tokens) for _, tokens in batch)
        return forward(batch, outputs)

    executor.forward_batch = counted
    return lengths


def test_the_second_question_of_a_chat_computes_its_own_tokens(path: Path, executor: str) -> None:
    """Also where the template writes an answer in another way than the model did."""
    engine = load(path, executor)
    engine._model.chat_template = TEMPLATE
    newline = engine.tokenize("\n", add_bos=False)[-1:]
    messages = [{"role": "user", "content": "what is on the way to the house? " * 4}]
    first = "".join(engine.chat(messages, 10, sampler=GREEDY))
    engine.tokenizer.eog_ids = frozenset(newline)
    prompt_tokens = engine.metrics_snapshot().prompt_tokens
    question = {"role": "user", "content": "and what is in it?"}
    list(engine.chat([*messages, {"role": "assistant", "content": first}, question], 5))
    own = len(engine.tokenize(first + "\nuser: and what is in it?\nassistant: ", add_bos=False))
    assert engine.metrics_snapshot().prompt_tokens - prompt_tokens <= own + 2
    # the answer to the second question comes out otherwise than it was
    asked = engine.metrics_snapshot().prompt_tokens
    messages = [*messages, {"role": "assistant", "content": first}, question]
    messages += [{"role": "assistant", "content": "a house"}, {"role": "user", "content": "oh"}]
    expected = engine._model.tokenize_chat(messages)
    list(engine.chat(messages, 5))
    assert engine.metrics_snapshot().prompt_tokens - asked < 40 < len(expected) / 3


@pytest.mark.parametrize("length", [0, 77, 150, 155])
def test_a_step_back_goes_anywhere(path: Path, executor: str, length: int) -> None:
    engine = load(path, executor)
    tokens = [*TEXT, *answer(engine, TEXT, 10)]
    engine.truncate(length)
    assert engine.kv_cache_seq_len == length
    more = [9, 8, 7]
    expected = answer(load(path, executor), [*tokens[:length], *more])
    assert answer(engine, more) == expected


def test_forks_and_siblings_share_a_beginning(path: Path, executor: str) -> None:
    engine = load(path, executor)
    expected = answer(load(path, executor), [*TEXT, 9, 8])
    engine.prefill(TEXT)
    fork = engine.conversation()
    fork.sequence.use_cached_prefix([*TEXT, 9, 8])
    assert len(fork.tokens) == len(TEXT)
    for conversation in (fork, fork.fork()):
        events = conversation.events([9, 8], 12, sampler=GREEDY)
        assert [event.token for event in events if event.token is not None] == expected
    other = answer(load(path, executor), [*TEXT, 50])
    assert answer(engine, [50]) == other


class Wrong(Drafter):
    """Guesses what follows in a text, and something else at every third token."""

    def __init__(self, right: list[int]) -> None:
        self.right = right

    def propose(self, tokens: Sequence[int], max_draft: int) -> list[int]:
        position = len(tokens) - len(TEXT)
        guesses = self.right[position : position + min(max_draft, 4)]
        return [5 if (position + i) % 3 == 2 else token for i, token in enumerate(guesses)]

    def check(self, model: object) -> None:
        pass


def test_speculation_changes_no_token(path: Path, executor: str) -> None:
    expected = answer(load(path, executor), TEXT, 30)
    drafters = [Wrong(expected), PromptLookup(), DraftModel(load(path, executor), 3)]
    for drafter in drafters:
        engine = load(path, executor)
        assert answer(engine, TEXT, 30, speculation=drafter) == expected
        # a wrong guess costs the right ones before it once more, and no step back
        assert engine._sequence.cache.length >= len(TEXT) + 20
        assert answer(engine, [9], 5) == answer(load(path, executor), [*TEXT, *expected, 9], 5)
    assert engine.metrics_snapshot().accepted_tokens > 15


def test_snapshots_go_on_in_another_engine(path: Path, executor: str) -> None:
    engine = load(path, executor)
    engine.tokenizer.eog_ids = frozenset([TEXT[120]])
    tokens = [*TEXT, *answer(engine, TEXT)]
    file = engine.kv_snapshot().to_bytes()
    expected = answer(engine, [9, 8])
    other = load(path, executor)
    other.kv_restore(KVSnapshot.from_bytes(file))
    lengths = computed(other)
    assert answer(other, [9, 8]) == expected
    assert lengths[0] == 3  # with the last token of the answer
    # and from its latest checkpoint
    lengths.clear()
    other.kv_restore(KVSnapshot.from_bytes(file))
    other._sequence.use_cached_prefix([*tokens[:140], 5, 6])
    assert len(other._sequence.tokens) == 121
    assert answer(other, [*tokens[121:140], 5, 6]) == answer(
        load(path, executor), [*tokens[:140], 5, 6]
    )
    snapshot = KVSnapshot.from_bytes(file)
    for data in (snapshot.data[:100], snapshot.data[:-4], snapshot.data + b"1234"):
        with pytest.raises(InvalidRequestError, match="no cache of"):
            other.kv_restore(replace(snapshot, data=data))


def test_several_sequences_in_one_pass(path: Path, executor: str) -> None:
    model = load(path, executor)._model.executor
    rng = np.random.default_rng(3)
    caches = [model.new_cache() for _ in range(3)]
    alone = [model.new_cache() for _ in range(3)]
    for counts in ((5, 70, 1), (1, 1, 1), (2, 1, 40)):
        parts = [rng.integers(4, 250, n).tolist() for n in counts]
        together = np.array(model.forward_batch(list(zip(caches, parts, strict=True)), "last"))
        rows = [
            np.array(model.forward(cache, part, "last"))
            for cache, part in zip(alone, parts, strict=True)
        ]
        # NumPy's products of other sizes round otherwise
        tolerance = 1e-4 if executor == "numpy" else 0
        np.testing.assert_allclose(together, np.concatenate(rows), atol=tolerance, rtol=0)


def test_an_interrupted_pass_is_taken_back(path: Path, executor: str) -> None:
    """States change in place: what a pass has begun is no part of the conversation."""
    expected = answer(load(path, executor), [*TEXT, 9, 8])
    engine = load(path, executor)
    engine.prefill(TEXT)
    cache = engine._sequence.cache
    model = engine._model.executor

    def interrupted(n_tokens: int) -> None:
        raise KeyboardInterrupt

    cache.end_pass = interrupted
    with pytest.raises(KeyboardInterrupt):
        engine.prefill([9])
    del cache.end_pass
    assert engine.kv_cache_seq_len == len(TEXT)
    lengths = computed(engine)
    assert answer(engine, [9, 8]) == expected
    assert sum(lengths[:2]) <= 150 + 2
    assert model.memory_bytes > 0


def test_a_full_context_shifts(path: Path, executor: str) -> None:
    """What is left is prefilled again: states cannot forget what came first."""
    engine = load(path, executor, context_size=64, context_full="shift", context_keep=4)
    tokens = answer(engine, TEXT[:40], 40)
    assert len(tokens) == 40
    kept = engine._sequence.tokens
    assert len(kept) < 64
    assert kept[:4] == TEXT[:4]
    fresh = answer(load(path, executor, context_size=64), [*kept, *engine._sequence.pending], 1)
    assert answer(engine, [], 1) == fresh


def test_old_checkpoints_are_dropped(
    path: Path, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(path, executor, prefill_chunk_size=16)
    sequence = engine._sequence
    states = sequence.cache.states
    assert states is not None
    monkeypatch.setattr(recurrent, "CHECKPOINT_BYTES", 3 * states.layout.n_bytes)
    for start in range(0, 150, 30):
        engine.prefill(TEXT[start : start + 30])
    assert [sequence.cache.restorable(n) for n in (29, 60, 90, 119, 121, 150)] == [
        *(0, 0, 90, 90, 120, 150)
    ]
    before = engine._model.executor.memory_bytes
    engine.reset()
    if executor == "kernels":
        assert engine._model.executor.memory_bytes <= before - 3 * states.layout.n_bytes


def test_adapters_change_recurrent_layers(files: Path, tmp_path: Path) -> None:
    """Also a part of a merged matrix; kernels as NumPy."""
    rng = np.random.default_rng(0)
    shapes = {"shortconv.in_proj": (64, 192), "shortconv.out_proj": (64, 64)}
    pairs = {
        f"blk.0.{name}.weight": (
            (rng.standard_normal((4, n_in)) / 8).astype(np.float32),
            (rng.standard_normal((n_out, 4)) / 4).astype(np.float32),
        )
        for name, (n_in, n_out) in shapes.items()
    }
    adapter = write_adapter(tmp_path / "lora.gguf", pairs, architecture=HYBRID)
    results = []
    for name in ("numpy", "kernels"):
        engine = load(files / f"{HYBRID}.gguf", name)
        plain = engine.forward_prefill(TEXT, 0)
        engine.push_lora(adapter)
        engine.reset()
        results.append(engine.forward_prefill(TEXT, 0))
        assert np.abs(results[-1] - plain).max() > 0.1
    assert np.abs(results[1] - results[0]).max() < 0.05 * np.abs(results[0]).max()


def test_a_memory_budget(path: Path, executor: str) -> None:
    expected = answer(load(path, executor), TEXT)
    engine = load(path, executor, offload_policy=OffloadPolicy.budget(300_000))
    assert answer(engine, TEXT) == expected


@pytest.mark.parametrize("case", CASES)
def test_a_page_keeps_states_in_the_memory_of_its_pool(case: str, files: Path) -> None:
    """A conversation, its second question after a snapshot, and the memory given back."""
    path = files / f"{case}.gguf"
    pool, file = NativePool(), path.read_bytes()
    download = Download(pool, file)
    arriving = ArrivingModel(pool, EngineConfig(), None)
    download.go_on(len(file))
    arriving.receive(download.address, len(file), len(file))
    engine = arriving.engine
    engine.tokenizer.eog_ids = frozenset()
    native = load(path)
    assert answer(engine, TEXT) == answer(native, TEXT)
    snapshot = KVSnapshot.from_bytes(engine.kv_snapshot().to_bytes())
    expected = answer(native, [9, 8])
    assert answer(engine, [9, 8]) == expected
    engine.kv_restore(snapshot)
    assert answer(engine, [9, 8]) == expected
    engine.truncate(100)
    assert answer(engine, [5]) == answer(load(path), [*TEXT[:100], 5])
    states = engine._sequence.cache.states
    assert states is not None
    n_free = pool.n_free
    conversation = engine.conversation()
    conversation.sequence.prefill([1])
    assert pool.n_free < n_free
    del conversation
    assert pool.n_free == n_free
