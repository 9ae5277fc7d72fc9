"""Threads and child processes that use one engine: right answers or clear errors, and no crash."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gguf_files import write_tiny_llama
from lora_files import changes, write_adapter

from oxillama_web import (
    ConversationChangedError,
    Drafter,
    DraftModel,
    EngineConfig,
    InferenceEngine,
    ModelNotLoadedError,
    OffloadPolicy,
    OxiLlamaError,
    SamplerConfig,
    SnapshotError,
)
from oxillama_web.gguf.reader import GGUFFile

GREEDY = SamplerConfig.greedy()
HOT = SamplerConfig(temperature=1.5, top_k=0, top_p=1.0, seed=3)
LETTERS = SamplerConfig(grammar="root ::= [a-z]+ [0-9]+")
N_THREADS = 5
SECONDS = 2.0

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
    write_tiny_llama(path, format="F32", context_length=1024, chat_template=template)
    write_adapter(path.with_name("lora.gguf"), changes(GGUFFile(path.read_bytes()), seed=1))
    return path


def load(path: Path, **config: Any) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(str(path), **{"num_threads": 2, **config}))
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


def in_threads(work: Callable[[int], object]) -> list[object]:
    """Call `work` with the number of each thread; return what they return or raise."""
    with ThreadPoolExecutor(N_THREADS) as pool:
        futures = [pool.submit(work, number) for number in range(N_THREADS)]
        return [future.exception(60) or future.result() for future in futures]


def answer(engine: InferenceEngine, prompt: str) -> str:
    return engine.conversation().generate(prompt, 12, sampler=HOT)


def use_at_random(engine: InferenceEngine, chance: random.Random, expected: str) -> None:
    """Call something; check the answers that no other call can change."""
    kind = chance.randrange(10)
    if kind < 3:
        assert answer(engine, "the dog") == expected
    elif kind == 3:
        engine.generate("the dog", 5)
    elif kind == 4:
        assert len(engine.embed_batch(["the cat", "a fox"])) == 2
    elif kind == 5:
        list(zip(engine.stream("hello", 10), range(4), strict=False))
    elif kind == 6:
        engine.reset()
    elif kind == 7:
        snapshot = engine.kv_snapshot()
        if snapshot is not None:
            engine.kv_restore(snapshot)
    elif kind == 8:
        conversation = engine.conversation()
        conversation.prefill([1, 2, 3])
        conversation.fork().forward_one(4)
        list(conversation.chat([{"role": "user", "content": "hello"}], 4, sampler=LETTERS))
    elif chance.random() < 0.5:
        engine.push_lora(Path(engine.config.model_path).with_name("lora.gguf"), 0.0)
        engine.clear_loras()
        engine.metrics_snapshot()
    elif chance.random() < 0.2:
        engine.close()
    else:
        engine.load_model()


@pytest.mark.parametrize("executor", ["kernels", "numpy"])
def test_threads_that_do_anything_get_answers_or_clear_errors(tiny: Path, executor: str) -> None:
    engine = load(tiny, executor=executor)
    engine.load_model()
    expected = answer(engine, "the dog")
    end = time.monotonic() + SECONDS

    def work(number: int) -> tuple[int, set[type]]:
        chance, n_done, errors = random.Random(number), 0, set()
        while time.monotonic() < end:
            try:
                use_at_random(engine, chance, expected)
                n_done += 1
            except OxiLlamaError as error:
                errors.add(type(error))
                if not engine.is_loaded:
                    engine.load_model()
        return n_done, errors

    for outcome in in_threads(work):
        assert isinstance(outcome, tuple), outcome
        n_done, errors = outcome
        assert n_done > 10
        # a snapshot may have been taken with the adapter
        assert errors <= {ConversationChangedError, ModelNotLoadedError, SnapshotError}
    engine.load_model()
    assert answer(engine, "the dog") == expected


def test_conversations_of_threads_answer_as_they_do_alone(tiny: Path) -> None:
    engine = load(tiny)
    prompts = ["the dog", "a fox runs", "hello", "good day to", "one two three"]
    alone = [answer(engine, prompt) for prompt in prompts]
    started = time.monotonic()
    assert in_threads(lambda number: answer(engine, prompts[number])) == alone
    assert time.monotonic() - started < 30


def test_requests_to_one_conversation_take_turns(tiny: Path) -> None:
    """As in a server whose threads share the engine: each answer continues the one before."""
    engine = load(tiny)
    answers = in_threads(lambda number: (number, engine.generate([5 + number], 6, sampler=HOT)))
    tokens = [*engine._sequence.tokens, *engine._sequence.pending]
    assert len(tokens) == N_THREADS * 7
    assert sorted(tokens[::7]) == [5 + number for number in range(N_THREADS)]
    texts = {5 + number: text for number, text in answers}
    for start in range(0, len(tokens), 7):
        decoder = engine.tokenizer.stream_decoder(continues_text=True)
        shown = "".join(map(decoder.push, tokens[start + 1 : start + 7])) + decoder.finish()
        assert shown == texts[tokens[start]]


def test_threads_share_one_stream(tiny: Path) -> None:
    engine = load(tiny)
    events = engine.events("the dog", 40, sampler=HOT)
    found = in_threads(lambda _: [event.token for event in events if event.token])
    expected = [e.token for e in load(tiny).events("the dog", 40, sampler=HOT) if e.token]
    assert sorted(token for tokens in found for token in tokens) == sorted(expected)


def test_models_draft_for_each_other(tiny: Path) -> None:
    engines = [load(tiny), load(tiny)]
    expected = answer(engines[0], "the dog")
    drafters = [DraftModel(engine, 2) for engine in engines]

    def work(number: int) -> str:
        engine, drafter = engines[number % 2], drafters[1 - number % 2]
        return engine.conversation().generate("the dog", 12, sampler=HOT, speculation=drafter)

    assert in_threads(work) == [expected] * N_THREADS


class WaitingDrafter(Drafter):
    """Waits in the middle of an answer until another thread has done something."""

    def __init__(self, other: Callable[[], object]) -> None:
        self.other = other

    def propose(self, tokens: list[int], max_draft: int) -> list[int]:
        thread = threading.Thread(target=self.other)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        return []


@pytest.mark.parametrize("executor", ["kernels", "numpy"])
def test_an_answer_ends_when_its_model_is_closed_or_replaced(tiny: Path, executor: str) -> None:
    for other in (InferenceEngine.close, InferenceEngine.load_model):
        engine = load(tiny, executor=executor)
        drafter = WaitingDrafter(lambda engine=engine, other=other: other(engine))
        with pytest.raises(ModelNotLoadedError, match="closed"):
            engine.generate("the dog", 20, speculation=drafter)
        if engine.is_loaded:
            assert engine.generate("the dog", 3) is not None


CHANGES: dict[str, Callable[[InferenceEngine], object]] = {
    "reset": lambda e: e.reset(),
    "truncate": lambda e: e.truncate(2),
    "prefill": lambda e: e.prefill([4]),
    "forward_one": lambda e: e.forward_one(4),
    "restore": lambda e: e.kv_restore(e.kv_snapshot()),
    "generate": lambda e: e.generate("a", 1),
    "stream": lambda e: e.stream("a", 1),
    "push_lora": lambda e: e.push_lora(Path(e.config.model_path).with_name("lora.gguf")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_stream_ends_when_its_conversation_is_used_for_something_else(
    tiny: Path, change: Callable[[InferenceEngine], object]
) -> None:
    engine = load(tiny)
    for begin in (engine.stream, engine.events):
        stream = begin("the dog", 50, sampler=HOT)
        next(stream)
        change(engine)
        with pytest.raises(ConversationChangedError, match="conversation"):
            list(stream)
        assert list(stream) == []
        # a stream that was not begun yet, too
        later = engine.stream("the dog", 50)
        change(engine)
        with pytest.raises(ConversationChangedError):
            next(later)


def test_what_only_looks_at_a_conversation_does_not_end_its_answer(tiny: Path) -> None:
    engine = load(tiny)
    expected = "".join(engine.conversation().stream("the dog", 20, sampler=HOT))
    conversation = engine.conversation()
    pieces = []
    for piece in conversation.stream("the dog", 20, sampler=HOT):
        pieces.append(piece)
        assert conversation.kv_cache_seq_len > 0
        assert conversation.tokens
        conversation.kv_snapshot()
        conversation.fork().generate("hello", 2)
        engine.embed("a fox")
        engine.reset()
        engine.metrics_snapshot()
    assert "".join(pieces) == expected


def in_child(work: Callable[[], object], seconds: float = 20.0) -> int:
    """Run `work` in a forked process; return its exit status, or -1 if it hangs."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    "config",
    [{"executor": "numpy"}, {}, {"offload_policy": OffloadPolicy.budget(400_000)}],
    ids=["numpy", "kernels", "budget"],
)
def test_a_child_process_goes_on_with_the_engine(tiny: Path, config: dict[str, Any]) -> None:
    engine = load(tiny, **config)
    engine.generate("hello", 3, sampler=HOT)
    expected = answer(engine, "the dog")
    going_on = engine.conversation()
    going_on.generate("the dog", 3, sampler=HOT)

    def work() -> None:
        assert answer(engine, "the dog") == expected
        going_on.generate("a fox", 30, sampler=HOT)
        engine.close()

    assert in_child(work) == 0
    # the child has not written into this process's cache
    assert going_on.fork().generate("", 5, sampler=GREEDY) == going_on.generate(
        "", 5, sampler=GREEDY
    )
    assert answer(engine, "the dog") == expected


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_process_whose_threads_compute(tiny: Path) -> None:
    """Locks that other threads held at the fork are free in the child."""
    engine = load(tiny)
    expected = answer(engine, "the dog")
    end = threading.Event()

    def work(_: int) -> None:
        while not end.is_set():
            engine.conversation().generate("the dog", 5, sampler=HOT)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()

    def check() -> None:
        assert answer(engine, "the dog") == expected
        engine.load_model()

    try:
        assert [in_child(check) for _ in range(5)] == [0] * 5
    finally:
        end.set()
        for thread in threads:
            thread.join(30)
