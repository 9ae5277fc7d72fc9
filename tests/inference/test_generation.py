"""Answers: stop strings, cancelling, log-probabilities, speculation and metrics."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest
from architecture_files import write_case
from gguf_files import write_tiny_llama
from hypothesis import given
from hypothesis import strategies as st

from oxillama_web import (
    ContextLengthError,
    Conversation,
    Drafter,
    DraftModel,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    PromptLookup,
    SamplerConfig,
)
from oxillama_web.inference.stop_strings import StopStrings

GREEDY = SamplerConfig.greedy()
HOT = SamplerConfig(temperature=1.5, top_k=0, top_p=1.0, seed=3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_tiny_llama(path)
    return path


@pytest.fixture(params=["numpy", "kernels"])
def engine(tiny: Path, request: pytest.FixtureRequest):
    engine = load(tiny, executor=request.param)
    yield engine
    engine.close()


def load(path: Path, **config: object) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(model_path=str(path), num_threads=1, **config))
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


def tokens_of(engine: InferenceEngine, n: int, **options: object) -> list[int]:
    engine.reset()
    events = engine.events("the dog sleeps", n, **options)
    return [event.token for event in events if event.token is not None]


class Guess(Drafter):
    """Guesses the rest of an answer that is known, with some mistakes."""

    def __init__(self, known: list[int], wrong_every: int) -> None:
        self.known, self.wrong_every = known, wrong_every

    def propose(self, tokens: list[int], n_most: int) -> list[int]:
        at = next(i for i in range(len(tokens) + 1) if self.known[: len(tokens) - i] == tokens[i:])
        draft = self.known[len(tokens) - at :][: min(5, n_most)]
        return [t if (at + i) % self.wrong_every else (t + 1) % 300 for i, t in enumerate(draft)]


@given(
    st.text("abcé", max_size=30),
    st.lists(st.text("abé", min_size=1, max_size=4), max_size=3),
    st.integers(1, 4),
)
def test_the_text_ends_where_the_first_stop_string_begins(
    text: str, stops: list[str], step: int
) -> None:
    finder = StopStrings(stops)
    shown = ""
    for start in range(0, len(text), step):
        shown += finder.push(text[start : start + step])
        # nothing of a stop string is ever shown, nor anything behind it
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
        if finder.found:
            break
    shown += finder.finish()
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    if not ends:
        assert (shown, finder.found) == (text, False)
    else:
        assert finder.found
        assert any(text[len(shown) :].startswith(stop) for stop in stops)


def test_an_answer_ends_in_front_of_a_stop_string(engine: InferenceEngine) -> None:
    whole = engine.generate("the dog", 40, sampler=HOT)
    stop = whole[20:24]
    for options in (
        {"sampler": HOT, "stop": [stop]},
        {"sampler": SamplerConfig(temperature=1.5, top_k=0, top_p=1.0, seed=3, stop=(stop,))},
    ):
        engine.reset()
        events = list(engine.events("the dog", 40, **options))
        assert "".join(event.text for event in events) == whole[: whole.index(stop)]
        assert events[-1].finish_reason == "stop"
    for wrong in ("text", [""]):
        with pytest.raises(InvalidRequestError, match="stop"):
            engine.events("a", stop=wrong)


def held_text(conversation: Conversation, n_prompt: int) -> str:
    """The text after the prompt that the conversation holds."""
    tokens = [*conversation.tokens, *conversation.pending][n_prompt:]
    decoder = conversation.model.tokenizer.stream_decoder(continues_text=True)
    return "".join(map(decoder.push, tokens)) + decoder.finish()


@pytest.mark.parametrize("speculation", [None, PromptLookup(5, 3, 1)], ids=["", "speculation"])
@pytest.mark.parametrize("case", ["byte-level", "sentencepiece"])
def test_a_conversation_holds_what_the_caller_was_given(
    tmp_path: Path, tiny: Path, case: str, speculation: Drafter | None
) -> None:
    """Not the stop string, where it begins in a token or between two, nor what was held back."""
    path = tiny
    if case == "sentencepiece":
        path = tmp_path / "gemma.gguf"
        write_case(path, "gemma", "Q8_0")
    engine = load(path)
    prompt = engine.tokenize("the dog")
    options = {"sampler": HOT, "speculation": speculation}
    whole = engine.conversation().generate(prompt, 40, **options)
    for start in range(1, 24):
        for n_letters in (1, 3, 6):
            stop = [whole[start : start + n_letters], "never comes"]
            conversation = engine.conversation()
            given = conversation.generate(prompt, 40, stop=stop, **options)
            assert held_text(conversation, len(prompt)) == given == whole[: whole.index(stop[0])]
    # leaving early: what was held back for a stop string is taken back
    for n_pieces in (1, 2, 5):
        conversation = engine.conversation()
        stream = conversation.stream(prompt, 40, stop=[whole[30:34]], **options)
        given = "".join(next(stream) for _ in range(n_pieces))
        stream.close()
        assert held_text(conversation, len(prompt)) == given
        assert conversation.generate([], 2, sampler=GREEDY) is not None


def test_an_end_token_does_not_stay_in_the_conversation(engine: InferenceEngine) -> None:
    tokens = tokens_of(engine, 12, sampler=HOT)
    engine.tokenizer.eog_ids = frozenset({tokens[7]})
    conversation = engine.conversation()
    given = conversation.generate("the dog sleeps", 12, sampler=HOT)
    n_prompt = len(engine.tokenize("the dog sleeps"))
    assert held_text(conversation, n_prompt) == given
    # the model is asked again for what follows the last token
    engine.tokenizer.eog_ids = frozenset()
    fresh = engine.conversation().generate(conversation.tokens, 3, sampler=GREEDY)
    assert conversation.generate([], 3, sampler=GREEDY) == fresh


def test_every_end_token_ends_the_answer(engine: InferenceEngine) -> None:
    tokens = tokens_of(engine, 12, sampler=HOT)
    engine.tokenizer.eog_ids = frozenset({tokens[7], tokens[4]})
    first = min(tokens.index(tokens[7]), tokens.index(tokens[4]))
    assert tokens_of(engine, 12, sampler=HOT) == tokens[:first]


def test_cancelling_stops_within_a_token_and_keeps_the_cache(tiny: Path) -> None:
    for executor in ("numpy", "kernels"):
        engine = load(tiny, executor=executor, prefill_chunk_size=2)
        whole = tokens_of(engine, 10, sampler=GREEDY)
        engine.reset()
        cancel = threading.Event()
        seen = []
        for event in engine.events("the dog sleeps", 10, sampler=GREEDY, cancel=cancel):
            seen.append(event)
            if event.n_done == 4 and event.phase == "decode":
                cancel.set()
        assert [e.token for e in seen if e.token is not None] == whole[:4]
        assert seen[-1].finish_reason == "cancelled"
        rest = [e.token for e in engine.events([], 6, sampler=GREEDY) if e.token is not None]
        assert whole[:4] + rest == whole
        # within the prompt: between two chunks
        engine.reset()
        cancel.clear()
        events = engine.events([5, 6, 7, 8, 9, 10], 4, cancel=cancel)
        next(events)
        cancel.set()
        assert [e.finish_reason for e in events] == ["cancelled"]
        assert engine.kv_cache_seq_len == 2
        assert engine.metrics_snapshot().requests_cancelled == 2


def test_log_probabilities_are_those_of_the_model(engine: InferenceEngine) -> None:
    prompt = engine.tokenize("the dog")
    events = [
        event
        for event in engine.events(prompt, 5, sampler=HOT, logprobs=3)
        if event.token is not None
    ]
    engine.reset()
    logits = engine.forward_prefill(prompt, 0).astype(np.float64)
    for event in events:
        exact = logits - np.log(np.exp(logits).sum())
        assert event.logprobs is not None
        assert event.logprobs.chosen == pytest.approx(exact[event.token], abs=1e-4)
        best = np.argsort(-exact, kind="stable")[:3]
        assert [token for token, _ in event.logprobs.top] == best.tolist()
        assert [p for _, p in event.logprobs.top] == pytest.approx(exact[best], abs=1e-4)
        logits = engine.forward_one(event.token).astype(np.float64)
    with pytest.raises(InvalidRequestError, match="logprobs"):
        engine.events("a", logprobs=-1)


def test_generate_with_config_uses_its_sampler(engine: InferenceEngine) -> None:
    expected = engine.generate("hello", 8, sampler=HOT)
    engine.reset()
    pieces: list[str] = []
    assert engine.generate_with_config("hello", 8, HOT, pieces.append) == expected
    assert "".join(pieces) == expected


def test_primitives_append_truncate_and_refuse(engine: InferenceEngine) -> None:
    tokens = [3, 9, 4, 20, 11]
    whole = engine.forward_prefill(tokens, 0)
    engine.truncate(2)
    assert engine.kv_cache_seq_len == 2
    engine.prefill(tokens[2:4])
    np.testing.assert_allclose(engine.forward_one(tokens[4]), whole, atol=1e-4)
    for length in (-1, 6):
        with pytest.raises(InvalidRequestError, match="5 tokens"):
            engine.truncate(length)
    with pytest.raises(ContextLengthError):
        engine.prefill([1] * 1000)
    assert engine.kv_cache_seq_len == 5


@pytest.mark.parametrize("sampler", [GREEDY, HOT, SamplerConfig(seed=1, mirostat=2)])
@pytest.mark.parametrize("executor", ["numpy", "kernels"])
def test_speculation_gives_the_same_tokens(
    tiny: Path, executor: str, sampler: SamplerConfig
) -> None:
    engine = load(tiny, executor=executor)
    plain = tokens_of(engine, 40, sampler=sampler)
    drafters: list[Drafter] = [PromptLookup(5, 3, 1), DraftModel(load(tiny, executor=executor), 3)]
    drafters.append(DraftModel(engine, 2))
    drafters += [Guess(plain, wrong_every) for wrong_every in (1, 2, 3, 100)]
    for drafter in drafters:
        assert tokens_of(engine, 40, sampler=sampler, speculation=drafter) == plain
    totals = engine.metrics_snapshot()
    assert 0 < totals.accepted_tokens < totals.drafted_tokens


def test_leaving_an_answer_with_guesses_in_the_cache(engine: InferenceEngine) -> None:
    plain = tokens_of(engine, 12, sampler=GREEDY)
    engine.reset()
    events = engine.events("the dog sleeps", 12, sampler=GREEDY, speculation=Guess(plain, 100))
    first = []
    for event in events:
        if event.token is not None:
            first.append(event.token)
        if len(first) == 3:
            break
    rest = [e.token for e in engine.events([], 9, sampler=GREEDY) if e.token is not None]
    assert first + rest == plain


def test_prompt_lookup_finds_the_last_place() -> None:
    lookup = PromptLookup(3, 3, 2)
    assert lookup.propose([1, 2, 3, 4, 5, 1, 2], 8) == [3, 4, 5]
    assert lookup.propose([1, 2, 3, 1, 2, 9, 1, 2], 8) == [9, 1, 2]
    assert lookup.propose([1, 2, 3, 1, 2], 2) == [3, 1]
    assert lookup.propose([7, 1, 2, 8, 1, 2, 9, 7, 1, 2], 1) == [8]
    assert lookup.propose([1, 2, 3, 2], 8) == []
    # 256 and 1 have the bytes of 1 and 0x10000 one place further on
    assert lookup.propose([1 << 8, 1 << 16, 5, 1, 1 << 8], 8) == []
    assert lookup.propose([], 8) == []
    with pytest.raises(InvalidRequestError):
        PromptLookup(0)


def test_a_draft_model_of_another_vocabulary_is_refused(tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    write_tiny_llama(other, vocab=300)
    engine = load(tiny)
    with pytest.raises(InvalidRequestError, match="same vocabulary"):
        engine.generate("a", speculation=DraftModel(load(other)))


def test_conversations_answer_in_turns_as_they_do_alone(engine: InferenceEngine) -> None:
    prompts = ["the dog", "a fox runs home"]
    alone = [list(engine.conversation().stream(prompt, 10, sampler=GREEDY)) for prompt in prompts]
    streams = [engine.conversation().stream(prompt, 10, sampler=GREEDY) for prompt in prompts]
    together: list[list[str]] = [[], []]
    for _ in range(40):
        for pieces, stream in zip(together, streams, strict=True):
            piece = next(stream, None)
            if piece is not None:
                pieces.append(piece)
    assert together == alone


def test_metrics_count_requests_tokens_and_time(engine: InferenceEngine) -> None:
    before = engine.metrics_snapshot()
    assert before.requests_started == 0
    assert before.memory_bytes == engine.memory_bytes > 0
    engine.generate([1, 2, 3], 4, sampler=GREEDY)
    next(iter(engine.stream([4, 5], 4, sampler=GREEDY)))
    with pytest.raises(InvalidRequestError):
        engine.generate([100_000], 4)
    totals = engine.metrics_snapshot()
    assert (totals.requests_started, totals.requests_completed) == (3, 1)
    assert (totals.requests_cancelled, totals.requests_failed) == (1, 1)
    # the first answer's last token is read with the second prompt
    assert totals.prompt_tokens == 3 + 3
    assert totals.generated_tokens >= 5
    assert totals.first_tokens == 2
    assert 0 < totals.mean_first_token_seconds < totals.prefill_seconds + totals.decode_seconds + 1
    assert totals.peak_memory_bytes >= totals.memory_bytes
    engine.metrics.reset()
    assert engine.metrics_snapshot().requests_started == 0


def test_metrics_print_as_prometheus_text(engine: InferenceEngine) -> None:
    engine.generate([1, 2, 3], 4, sampler=GREEDY)
    lines = engine.metrics_snapshot().to_prometheus().splitlines()
    sample = re.compile(r'[a-z_]+(\{[a-z]+="[a-z]+"\})? [0-9.e+-]+')
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    for line in lines:
        if not line.startswith("#"):
            assert sample.fullmatch(line)
            name = re.split(r"[{ ]", line)[0]
            assert name in typed or name.removesuffix("_sum").removesuffix("_count") in typed
    assert 'oxillama_requests_total{outcome="completed"} 1' in lines
    assert "oxillama_prompt_tokens_total 3" in lines


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, [100, 200]), (1e-9, [32, 64, 96, 128, 160, 192, 200]), (1000.0, [32, 96, 196, 200])],
)
def test_chunks_of_a_prompt_grow_as_long_as_they_are_fast(
    tmp_path: Path, seconds: float, expected: list[int]
) -> None:
    write_tiny_llama(tmp_path / "model.gguf")
    config = EngineConfig(
        model_path=str(tmp_path / "model.gguf"), prefill_chunk_size=100, prefill_seconds=seconds
    )
    engine = InferenceEngine(config)
    engine.load_model()
    events = engine.events(list(range(5, 205)), max_tokens=1)
    assert [event.n_done for event in events if event.phase == "prefill"] == expected
