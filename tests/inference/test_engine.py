"""The engine on a tiny random model, with both executors."""

from __future__ import annotations

import itertools
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from gguf_files import write_tiny_gemma3, write_tiny_llama

from oxillama_web import (
    ChatTemplateError,
    ContextLengthError,
    Conversation,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    KernelError,
    ModelFormatError,
    OffloadPolicy,
    OxiLlamaError,
    SamplerConfig,
    TokenizerError,
)
from oxillama_web.backends.kernels import library

GREEDY = SamplerConfig.greedy()


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_tiny_llama(path)
    return path


@pytest.fixture(scope="module")
def tiny_gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "gemma3.gguf"
    write_tiny_gemma3(path)
    return path


@pytest.fixture(params=["numpy", "kernels"])
def executor(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def engine(tiny_llama: Path, executor: str):
    engine = load(tiny_llama, executor=executor)
    yield engine
    engine.close()


def load(path: Path, **config: object) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(model_path=str(path), num_threads=2, **config))
    engine.load_model()
    return engine


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gemma3"])
def test_both_executors_compute_the_same(model: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(model)
    reference = load(path, executor="numpy")
    kernels = load(path, executor="kernels", kv_cache_type="f32")
    tokens = [5 + index * 7 % 40 for index in range(40)]
    expected = reference.forward_prefill(tokens, 0)
    actual = kernels.forward_prefill(tokens, 0)
    assert expected.dtype == actual.dtype == np.float32
    assert expected.shape == (reference.model_config.vocab_size,)
    assert np.std(expected) > 0.01
    # 8-bit inputs of every matrix product, against exact ones
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


def test_loading_by_path_bytes_and_policy_gives_the_same_model(
    tiny_llama: Path, executor: str
) -> None:
    data = tiny_llama.read_bytes()
    expected = load(tiny_llama, executor=executor).forward_prefill([1, 2, 3], 0)
    writable = bytearray(data)
    for source, consume in ((data, False), (memoryview(data), False), (writable, True)):
        engine = InferenceEngine(EngineConfig(executor=executor))
        engine.load_model_from_bytes(source, None, consume=consume)
        np.testing.assert_array_equal(engine.forward_prefill([1, 2, 3], 0), expected)
    for policy in (OffloadPolicy.none(), OffloadPolicy.mmap()):
        engine = load(tiny_llama, executor=executor, offload_policy=policy)
        np.testing.assert_array_equal(engine.forward_prefill([1, 2, 3], 0), expected)
    assert tiny_llama.read_bytes() == data


def test_the_callers_buffer_stays_as_it_was_unless_it_is_given_away(tiny_llama: Path) -> None:
    data = bytearray(tiny_llama.read_bytes())
    before = bytes(data)
    engine = InferenceEngine(EngineConfig(executor="kernels"))
    engine.load_model_from_bytes(data, None)
    engine.forward_prefill([1, 2, 3], 0)
    assert data == before


def test_prefill_in_chunks_and_at_once_agree(tiny_llama: Path, executor: str) -> None:
    tokens = list(range(1, 41))
    logits = [
        load(tiny_llama, executor=executor, prefill_chunk_size=size).forward_prefill(tokens, 0)
        for size in (0, 7, 16, 1)
    ]
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-4)


def test_decoding_token_by_token_agrees_with_prefill(engine: InferenceEngine) -> None:
    tokens = [3, 9, 4, 20, 11]
    whole = engine.forward_prefill(tokens, 0)
    engine.reset()
    for position, token in enumerate(tokens):
        logits = engine.forward_decode(token, position)
    np.testing.assert_allclose(logits, whole, atol=1e-4)
    assert engine.kv_cache_seq_len == 5


def test_a_cache_longer_than_a_page_agrees_with_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    write_tiny_llama(path, context_length=1024)
    tokens = [1 + index * 13 % 50 for index in range(600)]
    expected = load(path, executor="numpy").forward_prefill(tokens, 0)
    actual = load(path, executor="kernels", kv_cache_type="f32").forward_prefill(tokens, 0)
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


def test_positions_must_follow_on_each_other(engine: InferenceEngine) -> None:
    engine.forward_prefill([1, 2], 0)
    for position in (0, 1, 3, -1):
        with pytest.raises(InvalidRequestError, match="holds 2 tokens"):
            engine.forward_decode(1, position)
    with pytest.raises(InvalidRequestError, match="at least one token"):
        engine.forward_prefill([], 2)
    assert engine.kv_cache_seq_len == 2


def test_tokens_outside_of_the_vocabulary_are_refused(engine: InferenceEngine) -> None:
    size = engine.model_config.vocab_size
    for token in (-1, size, 2**31, -(2**40)):
        with pytest.raises(InvalidRequestError, match="vocabulary"):
            engine.forward_prefill([1, token], 0)
        with pytest.raises(InvalidRequestError, match="vocabulary"):
            engine.decode_token(token)
    assert engine.kv_cache_seq_len == 0


def test_a_prompt_too_long_is_refused_with_both_numbers(tiny_llama: Path, executor: str) -> None:
    engine = load(tiny_llama, executor=executor, context_size=16)
    engine.forward_prefill([1] * 10, 0)
    with pytest.raises(ContextLengthError, match=r"7 tokens.*10.*16"):
        engine.forward_prefill([1] * 7, 10)
    with pytest.raises(ContextLengthError, match=r"16"):
        engine.generate([1] * 7)
    assert engine.kv_cache_seq_len == 10


def test_an_answer_ends_when_the_context_is_full(tiny_llama: Path, executor: str) -> None:
    engine = load(tiny_llama, executor=executor, context_size=16)
    engine._model.tokenizer.eog_ids = frozenset()
    last = list(engine.events([1] * 10, 100, sampler=GREEDY))[-1]
    assert last.finish_reason == "context"
    assert engine.kv_cache_seq_len == 16


def test_stream_generate_and_events_tell_the_same_text(engine: InferenceEngine) -> None:
    streamed = "".join(engine.stream("hello world", 12, sampler=GREEDY))
    engine.reset()
    pieces: list[str] = []
    assert engine.generate("hello world", 12, pieces.append, sampler=GREEDY) == streamed
    assert "".join(pieces) == streamed
    engine.reset()
    events = list(engine.events("hello world", 12, sampler=GREEDY))
    assert "".join(event.text for event in events) == streamed
    assert events[0].phase == "prefill"
    assert events[-1].finish_reason in ("length", "stop")
    assert [event.finish_reason for event in events[:-1]] == [None] * (len(events) - 1)


def test_a_callback_can_stop_the_answer(engine: InferenceEngine) -> None:
    engine._model.tokenizer.eog_ids = frozenset()
    calls: list[str] = []

    def stop_at_third(piece: str) -> bool:
        calls.append(piece)
        return len(calls) < 3

    engine.generate("hello", 50, stop_at_third, sampler=GREEDY)
    assert len(calls) == 3


def test_the_old_name_of_conversation_warns(engine: InferenceEngine) -> None:
    with pytest.warns(DeprecationWarning, match=r"conversation\(\)"):
        assert isinstance(engine.session(), Conversation)


def test_a_conversation_continues_from_the_cache(engine: InferenceEngine) -> None:
    """An answer cut in two has the tokens of an answer in one go."""
    engine._model.tokenizer.eog_ids = frozenset()
    whole = [
        event.token
        for event in engine.events([4, 8], 10, sampler=GREEDY)
        if event.token is not None
    ]
    engine.reset()
    first = [
        event.token for event in engine.events([4, 8], 4, sampler=GREEDY) if event.token is not None
    ]
    rest = [
        event.token for event in engine.events([], 6, sampler=GREEDY) if event.token is not None
    ]
    assert first + rest == whole


def test_leaving_a_stream_early_keeps_the_conversation_whole(engine: InferenceEngine) -> None:
    engine._model.tokenizer.eog_ids = frozenset()
    whole = [e.token for e in engine.events([4, 8], 10, sampler=GREEDY) if e.token is not None]
    engine.reset()
    stream = (e for e in engine.events([4, 8], 10, sampler=GREEDY) if e.token is not None)
    first = [e.token for e in itertools.islice(stream, 3)]
    stream.close()
    rest = [e.token for e in engine.events([], 7, sampler=GREEDY) if e.token is not None]
    assert first + rest == whole


def test_an_empty_prompt_and_a_negative_length_are_refused(engine: InferenceEngine) -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        engine.generate([])
    with pytest.raises(InvalidRequestError, match="max_tokens"):
        engine.generate("a", -1)


def test_the_same_seed_gives_the_same_text(engine: InferenceEngine) -> None:
    def text(seed: int) -> str:
        engine.reset()
        return engine.generate("hello", 30, sampler=SamplerConfig(seed=seed, temperature=1.5))

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(5)}) > 1


def test_a_model_without_a_template_cannot_chat(engine: InferenceEngine) -> None:
    with pytest.raises(ChatTemplateError, match="template"):
        engine.chat([{"role": "user", "content": "hello"}])


def test_a_second_turn_computes_only_what_is_new(tmp_path: Path, executor: str) -> None:
    path = tmp_path / "chat.gguf"
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
    write_tiny_llama(path, chat_template=template)
    engine = load(path, executor=executor)
    messages = [{"role": "user", "content": "hello world this is a long first turn"}]
    answer = "".join(engine.chat(messages, 4, sampler=GREEDY))
    cached = engine.kv_cache_seq_len
    messages += [
        {"role": "assistant", "content": answer},
        {"role": "user", "content": "again"},
    ]
    n_tokens = len(engine.tokenize(engine.render_chat(messages)))
    events = list(engine.chat_events(messages, 4, sampler=GREEDY))
    assert events[0].n_total < n_tokens - cached // 2
    reference = load(path, executor=executor)
    fresh = list(reference.chat_events(messages, 4, sampler=GREEDY))
    assert [event.token for event in events] == [event.token for event in fresh]


def test_a_failed_load_leaves_the_engine_as_it_was(tiny_llama: Path, executor: str) -> None:
    engine = load(tiny_llama, executor=executor)
    before = engine.forward_prefill([1, 2, 3], 0)
    data = tiny_llama.read_bytes()
    for broken in (b"", b"GGUF", data[:-1], data[: len(data) // 2], b"\0" * 1000):
        with pytest.raises(OxiLlamaError):
            engine.load_model_from_bytes(broken, None)
    with pytest.raises(TokenizerError):
        engine.load_model_from_bytes(data, "{}")
    assert engine.kv_cache_seq_len == 3
    engine.reset()
    np.testing.assert_array_equal(engine.forward_prefill([1, 2, 3], 0), before)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere.gguf")
    empty = tmp_path / "empty.gguf"
    empty.touch()
    with pytest.raises(ModelFormatError, match=r"empty\.gguf"):
        load(empty)
    with pytest.raises(InvalidRequestError, match="model_path"):
        InferenceEngine().load_model()


def test_the_tokenizer_is_looked_for_beside_the_file(tiny_llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_tiny_llama(path, with_vocabulary=False)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        load(path)
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(
        '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}'
    )
    assert load(path).tokenize("ab") == [2]
    elsewhere = tmp_path / "elsewhere.json"
    shutil.move(tokenizer, elsewhere)
    assert load(path, tokenizer_path=str(elsewhere)).tokenize("ab") == [2]


def test_auto_falls_back_to_numpy_with_a_warning(tiny_llama: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(library, "KERNELS_FOLDER", tmp_path)
    with pytest.warns(UserWarning, match=r"libox.*NumPy"):
        engine = load(tiny_llama)
    assert engine.executor_name == "numpy"
    with pytest.raises(KernelError, match="make kernels"):
        load(tiny_llama, executor="kernels")


def test_auto_takes_the_kernels(tiny_llama: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tiny_llama).executor_name.startswith("kernels-")


def test_tools_and_variables_reach_the_template(tmp_path: Path, executor: str) -> None:
    write_tiny_llama(
        tmp_path / "model.gguf",
        chat_template="{% for t in tools or [] %}{{ t.name }} {% endfor %}{{ mood }}"
        "{{ messages[0].content }}",
    )
    engine = load(tmp_path / "model.gguf", executor=executor)
    messages = [{"role": "user", "content": "fox"}]
    assert engine.render_chat(messages, [{"name": "dog"}], mood="warm ") == "dog warm fox"
    tools, variables = [{"name": "dog"}], {"mood": "warm "}
    list(engine.chat(messages, 1, tools=tools, variables=variables, sampler=GREEDY))
    cached = engine._sequence.tokens
    assert engine._model.tokenizer.decode(cached) == "dog warm fox"
