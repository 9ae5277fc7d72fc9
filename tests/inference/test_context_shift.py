"""A full context discards its oldest tokens, if that is chosen."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from architecture_files import CASES, write_case
from gguf_files import write_tiny_llama

from oxillama_web import (
    ContextLengthError,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    PromptLookup,
    SamplerConfig,
)
from oxillama_web.backends.cache import SequenceCache
from oxillama_web.backends.numpy.kv_cache import NumpyKVCache
from oxillama_web.inference.snapshots import KVSnapshot
from oxillama_web.plan.operations.attention import KVStore
from oxillama_web.plan.operations.rope import Rope, RopeTable

GREEDY = SamplerConfig.greedy()
PROMPT = [5, 6, 7, 8, 9, 10, 11]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_tiny_llama(path, format="F32", context_length=512)
    return path


@pytest.fixture(scope="module")
def learned_positions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose cached keys cannot be turned to other positions."""
    path = tmp_path_factory.mktemp("models") / "gpt2.gguf"
    write_case(path, "gpt2", "F32")
    return path


@pytest.fixture(params=["numpy", "kernels"])
def executor(request: pytest.FixtureRequest) -> str:
    return request.param


def load(path: Path, executor: str, **config: object) -> InferenceEngine:
    defaults = {"num_threads": 1, "kv_cache_type": "f32"}
    engine = InferenceEngine(
        EngineConfig(model_path=str(path), executor=executor, **(defaults | config))
    )
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


def read_anew(engine: InferenceEngine, n: int, keep: int, context: int) -> list[int]:
    """Greedy tokens, each from logits that are computed anew over what the context then holds."""
    held, answer = list(PROMPT), []
    for _ in range(n):
        engine.reset()
        answer.append(int(np.argmax(engine.forward_prefill(held, 0))))
        if len(held) == context:
            held = held[:keep] + held[len(held) - (context - keep) // 2 :]
        held.append(answer[-1])
    return answer


def turned_in_float64(engine: InferenceEngine, n: int, keep: int, context: int) -> list[int]:
    """Greedy tokens over a NumPy cache whose keys are taken apart, turned and put together here."""
    executor, tables = engine._model.executor, {}
    rotations = []
    for op in executor._plan.ops:
        if isinstance(op, RopeTable):
            tables[op.dst] = op.frequencies
        elif isinstance(op, Rope):
            last = op
        elif isinstance(op, KVStore):
            assert last.style == "interleaved" and last.buffer == op.keys
            rotations.append(np.array(tables[last.table]))
    cache = executor.new_cache()
    logits = executor.forward(cache, PROMPT, "last")
    answer = [int(np.argmax(logits))]
    while len(answer) < n:
        if cache.length == context:
            count = context - keep - (context - keep) // 2
            for keys, values, frequencies in zip(
                cache.keys._keys, cache.keys._values, rotations, strict=True
            ):
                moved = keys[keep + count : context].astype(np.float64)
                numbers = (moved[..., 0::2] + 1j * moved[..., 1::2]) * np.exp(
                    -1j * count * frequencies
                )
                keys[keep : context - count, :, 0::2] = numbers.real
                keys[keep : context - count, :, 1::2] = numbers.imag
                values[keep : context - count] = values[keep + count : context].copy()
            cache.keys.length -= count
        logits = executor.forward(cache, answer[-1:], "last")
        answer.append(int(np.argmax(logits)))
    return answer


def count_forward_tokens(engine: InferenceEngine) -> list[int]:
    """Lengths of the forward passes from now on."""
    lengths: list[int] = []
    forward = engine._model.executor.forward_batch

    def counted(batch: list[tuple[object, list[int]]], outputs: str) -> memoryview:
        lengths.extend(len(tokens) for _, tokens in batch)
        return forward(batch, outputs)

    engine._model.executor.forward_batch = counted
    return lengths


@pytest.mark.parametrize("keep", [0, 3, 14])
def test_an_answer_goes_on_beyond_the_context(tiny: Path, executor: str, keep: int) -> None:
    engine = load(tiny, executor, context_size=16, context_full="shift", context_keep=keep)
    expected = turned_in_float64(load(tiny, "numpy"), 50, keep, 16)
    for speculation in (None, PromptLookup(3, 2, 1)):
        engine.reset()
        events = list(engine.events(PROMPT, 50, sampler=GREEDY, speculation=speculation))
        assert [event.token for event in events if event.token is not None] == expected
        assert events[-1].finish_reason == "length"
        assert engine.kv_cache_seq_len <= 16
        assert engine._sequence.tokens[:keep] == (PROMPT + expected)[:keep]


@pytest.mark.parametrize("keep", [0, 3, 14])
def test_learned_positions_are_read_again(
    learned_positions: Path, executor: str, keep: int
) -> None:
    config = {"context_size": 16, "context_full": "shift", "context_keep": keep}
    engine = load(learned_positions, executor, **config)
    expected = read_anew(load(learned_positions, executor), 30, keep, 16)
    events = list(engine.events(PROMPT, 30, sampler=GREEDY))
    assert [event.token for event in events if event.token is not None] == expected


def test_no_token_is_computed_twice(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor, context_size=16, context_full="shift", context_keep=2)
    lengths = count_forward_tokens(engine)
    engine.generate(PROMPT, 200, sampler=GREEDY)
    assert lengths == [len(PROMPT)] + [1] * 199


class FarCache(NumpyKVCache):
    """A cache that shows what is behind its first `n_hidden` positions, and no more."""

    n_hidden = 0

    def read(self, layer: int, n_new: int) -> tuple[np.ndarray, np.ndarray]:
        keys, values = super().read(layer, n_new)
        return keys[self.n_hidden :], values[self.n_hidden :]


# Cases whose cached keys cannot move, and are prefilled again.
WITHOUT_SHIFT = {
    *("gpt2", "mpt-positions", "starcoder"),  # a vector is learned for each position
    *("hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "maincoder"),  # a norm follows the rotation
    # a key has a part with positions and one without
    *("deepseek2", "deepseek3", "minicpm3", "mistral4", "plm"),
}
DECODERS = [name for name, case in CASES.items() if not case.is_encoder]


@pytest.mark.parametrize("case", DECODERS)
def test_logits_are_those_of_the_same_distances(case: str, tmp_path: Path, executor: str) -> None:
    """Attention with rotary positions knows only how far keys are away.

    So a cache that has lost its first positions gives the logits of one that has not shifted, where
    they are out of sight. A cache without positions gives them too.
    """
    path = tmp_path / "model.gguf"
    write_case(path, case, "F32")
    engine = load(path, executor, context_size=CASES[case].context_size)
    cache = engine._model.executor.new_cache()
    if case in WITHOUT_SHIFT or cache.states is not None:
        assert not cache.can_shift
        engine._model.executor.forward(cache, PROMPT, "last")
        with pytest.raises(InvalidRequestError, match="cannot take 2 positions"):
            cache.shift(0, 2)
        return
    rng = np.random.default_rng(1)
    old, new = (rng.integers(5, 60, n).tolist() for n in (70, 8))
    # mistral3's queries grow with each 16 positions
    n_hidden = 6 if case == "mistral3" else 37
    oracle = load(path, "numpy", context_size=CASES[case].context_size)._model.executor
    keys = FarCache(oracle._plan)
    far = SequenceCache(keys)
    oracle.forward(far, old, "last")
    keys.n_hidden = n_hidden
    expected = np.array(oracle.forward(far, new, "all"))
    engine._model.executor.forward(cache, old, "last")
    cache.shift(0, n_hidden)
    assert cache.length == len(old) - n_hidden
    logits = np.array(engine._model.executor.forward(cache, new, "all"))
    error = np.abs(logits - expected).max() / np.abs(expected).max()
    assert error < 1e-5


def test_a_fork_keeps_what_its_origin_discards(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor)
    model = engine._model
    text = np.random.default_rng(2).integers(5, 60, 300).tolist()
    cache = model.executor.new_cache()
    model.executor.forward(cache, text, "last")
    fork = cache.fork(290)
    exported = fork.export()
    cache.shift(10, 100)
    assert cache.length == 200
    assert fork.export() == exported
    fork.shift(10, 190)
    assert fork.length == 100
    assert np.isfinite(model.executor.forward(cache, text[:5], "last")).all()


def test_a_prompt_longer_than_the_context_keeps_its_ends(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor, context_size=16, context_full="shift", context_keep=4)
    prompt = list(range(5, 60))
    events = list(engine.events(prompt, 1, sampler=GREEDY))
    held = prompt[:4] + prompt[-6:]
    assert engine._sequence.tokens == held
    logits = load(tiny, executor).forward_prefill(held, 0)
    assert [e.token for e in events if e.token is not None] == [int(np.argmax(logits))]
    # forward passes with positions of the caller's never shift
    with pytest.raises(ContextLengthError):
        engine.prefill([1] * 7)


def test_a_prompt_that_does_not_fit_moves_what_is_cached(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor, context_size=32, context_full="shift", context_keep=4)
    engine.prefill(list(range(5, 33)))
    lengths = count_forward_tokens(engine)
    list(engine.events([40, 41, 42, 43, 44, 45], 1, sampler=GREEDY))
    assert lengths == [6]
    held = [*range(5, 9), *range(25, 33), 40, 41, 42, 43, 44, 45]
    assert engine._sequence.tokens == held


def test_a_chat_goes_on_with_what_it_has_not_discarded(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor, context_size=64, context_full="shift", context_keep=4)
    engine.tokenize_chat = lambda messages, *_, **__: messages
    lengths = count_forward_tokens(engine)
    chat = list(range(5, 60))
    for turn in range(4):
        answer = [e.token for e in engine.chat_events(chat, 20, sampler=GREEDY)]
        chat += [*(t for t in answer if t is not None), 30 + turn, 31, 32]
    # each token once: the prompt, 3 more a turn, and the answers but for their last token
    assert sum(lengths) == len(chat) - 3 - 1
    # another conversation begins anew behind the tokens that are kept
    other = [*chat[:4], *range(20, 50)]
    list(engine.chat_events(other, 1, sampler=GREEDY))
    assert engine._sequence.tokens == other
    logits = load(tiny, executor).forward_prefill(other, 0)
    np.testing.assert_allclose(engine._sequence.logits, logits, atol=1e-4)


def test_a_restored_chat_knows_what_it_has_discarded(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor, context_size=64, context_full="shift", context_keep=4)
    chat = list(range(5, 60))
    answers = []
    for turn in range(3):
        engine.tokenize_chat = lambda messages, *_, **__: messages
        answer = [e.token for e in engine.chat_events(chat, 20, sampler=GREEDY)]
        answers.append(answer)
        chat += [*(t for t in answer if t is not None), 30 + turn, 31, 32]
    file = engine.kv_snapshot().to_bytes()
    expected = list(engine.chat_events(chat, 40, sampler=GREEDY))
    # it keeps as many as it was begun with, whatever the other engine would keep
    for config in ({"context_keep": 4}, {"context_keep": 7}, {"context_full": "stop"}):
        config = {"context_size": 64, "context_full": "shift", **config}
        other = load(tiny, executor, **config)
        other.kv_restore(KVSnapshot.from_bytes(file))
        other.tokenize_chat = lambda messages, *_, **__: messages
        lengths = count_forward_tokens(other)
        events = list(other.chat_events(chat, 40, sampler=GREEDY))
        tokens = [e.token for e in events]
        if config["context_full"] == "stop":
            assert events[-1].finish_reason == "context"
            assert tokens[:-1] == [e.token for e in expected][: len(tokens) - 1]
        else:
            assert tokens == [e.token for e in expected]
            assert len(tokens) > 40 > other.context_size - len(other._sequence.tokens)
        # the answer's last token and the three of the next question
        assert lengths[0] == 4
        assert other._sequence.fork().discarded == other._sequence.discarded
    # another conversation begins anew behind the tokens that are kept
    list(other.chat_events([*chat[:4], 40, 41, 42], 1, sampler=GREEDY))
    assert other._sequence.tokens[:4] == chat[:4]
    assert other._sequence.discarded == []


def test_a_snapshot_that_keeps_what_it_has_not_is_refused(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor, context_size=64, context_full="shift", context_keep=4)
    engine.generate(list(range(5, 40)), 60, sampler=GREEDY)
    snapshot = engine.kv_snapshot()
    assert snapshot.n_keep == 4
    for changes in ({"n_keep": -1}, {"n_keep": 63}, {"discarded": (-1,)}, {"discarded": (9999,)}):
        with pytest.raises(InvalidRequestError):
            engine.kv_restore(replace(snapshot, **changes))
    # files of version 2 had no discarded tokens
    plain = replace(snapshot, discarded=(), n_keep=0)
    file = plain.to_bytes()[:-4].replace(b', "forgotten": [], "n_kept": 0', b"")
    n_header = int.from_bytes(file[8:12], "little") - len(b', "forgotten": [], "n_kept": 0')
    file = file[:4] + b"\2\0\0\0" + n_header.to_bytes(4, "little") + file[12:]
    assert KVSnapshot.from_bytes(file + zlib.crc32(file).to_bytes(4, "little")) == plain


def test_others_do_not_share_what_discarded_tokens_were_computed_with(
    tiny: Path, executor: str
) -> None:
    engine = load(tiny, executor, context_size=64, context_full="shift", context_keep=4)
    engine.generate(list(range(5, 40)), 60, sampler=GREEDY)
    held = list(engine._sequence.tokens)
    assert len(held) > 30
    conversation = engine.conversation()
    conversation.sequence.use_cached_prefix([*held, 7])
    assert conversation.tokens == []


def test_what_cannot_be_kept_is_refused(tiny: Path) -> None:
    with pytest.raises(InvalidRequestError, match="context_keep is 15"):
        load(tiny, "numpy", context_size=16, context_full="shift", context_keep=15)
    for wrong in ({"context_full": "roll"}, {"context_keep": -1}):
        with pytest.raises(InvalidRequestError, match="context_"):
            EngineConfig(**wrong)
