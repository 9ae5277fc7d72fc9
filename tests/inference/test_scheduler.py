"""Many requests at once: turns, priorities, ends, faults, and what later requests find cached."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import pytest
from gguf_files import write_tiny_llama

from oxillama_web import (
    AsyncEngine,
    ContextLengthError,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    ModelNotLoadedError,
    SamplerConfig,
)
from oxillama_web.inference.prefix_cache import PrefixCache
from oxillama_web.inference.scheduler import Scheduler

PROMPTS = [f"prompt number {index} " * (index % 3 + 1) for index in range(12)]
SEEDED = SamplerConfig(temperature=1.3, seed=11)


class Steps:
    """Jobs that write down their steps, and wait for `go_on` before each."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.done: list[str] = []

    def job(self, name: str, n: int = 3) -> Iterator[str]:
        try:
            for number in range(n):
                self.go_on.wait(10)
                self.done.append(f"{name}{number}")
                yield self.done[-1]
        finally:
            self.done.append(f"{name} ends")


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(max_running=2)
    yield scheduler
    scheduler.close()


async def taken(scheduler: Scheduler, steps: Iterator[str], priority: int = 0) -> list[str]:
    return [value async for value in scheduler.run(lambda: steps, priority)]


def test_jobs_take_turns_by_priority_and_order(scheduler: Scheduler, steps: Steps) -> None:
    async def run() -> None:
        jobs = [asyncio.create_task(taken(scheduler, steps.job(name))) for name in "ab"]
        await asyncio.sleep(0.05)
        jobs.append(asyncio.create_task(taken(scheduler, steps.job("c"))))
        jobs.append(asyncio.create_task(taken(scheduler, steps.job("d"), priority=1)))
        await asyncio.sleep(0.05)
        steps.go_on.set()
        answers = await asyncio.gather(*jobs)
        assert answers[3] == ["d0", "d1", "d2"]

    asyncio.run(run())
    ends = [each for each in steps.done if each.endswith("ends")]
    # the highest priority overtakes one of the first two, and those that came first go on first
    assert ends.index("d ends") < ends.index("b ends")
    assert [each for each in ends if each != "d ends"] == ["a ends", "b ends", "c ends"]


def test_who_leaves_and_what_fails_ends_alone(scheduler: Scheduler, steps: Steps) -> None:
    def failing() -> Iterator[str]:
        yield "first"
        raise ZeroDivisionError("oops")

    def never() -> Iterator[str]:
        raise ValueError("no steps")

    async def run() -> None:
        steps.go_on.set()
        other = asyncio.create_task(taken(scheduler, steps.job("b", 30)))
        async with aclosing(scheduler.run(lambda: steps.job("a", 1000))) as values:
            async for value in values:
                if value == "a3":
                    break
        with pytest.raises(ZeroDivisionError, match="oops"):
            await taken(scheduler, failing())
        with pytest.raises(ValueError, match="no steps"):
            [value async for value in scheduler.run(never)]
        with pytest.raises(InvalidRequestError, match="priority"):
            await taken(scheduler, failing(), priority=1.5)  # type: ignore[arg-type]
        assert len(await other) == 30

    asyncio.run(run())
    assert "a ends" in steps.done and "a999" not in steps.done


def test_closing_ends_all(scheduler: Scheduler, steps: Steps) -> None:
    async def run() -> None:
        jobs = [asyncio.create_task(taken(scheduler, steps.job(name))) for name in "abc"]
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(asyncio.to_thread(scheduler.close))
        await asyncio.sleep(0.05)
        steps.go_on.set()
        await closing
        for job in jobs:
            with pytest.raises(ModelNotLoadedError, match="scheduler was closed"):
                await job
        with pytest.raises(ModelNotLoadedError):
            await taken(scheduler, steps.job("d"))

    asyncio.run(run())
    assert "a ends" in steps.done


def load(tmp_path: Path, **config: object) -> InferenceEngine:
    path = tmp_path / "llama.gguf"
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
    write_tiny_llama(path, format="F32", context_length=128, chat_template=template)
    engine = InferenceEngine(EngineConfig(str(path), num_threads=2, **config))
    engine.load_model()
    return engine


async def texts(requests: AsyncEngine, prompts: list[str]) -> list[str]:
    async def answer(prompt: str) -> str:
        events = requests.generate(prompt, 20, sampler=SEEDED)
        return "".join([event.text async for event in events])

    return list(await asyncio.gather(*map(answer, prompts)))


def test_requests_of_several_threads_are_those_of_each_alone(tmp_path: Path) -> None:
    engine = load(tmp_path)
    alone = [engine.conversation().generate(prompt, 20, sampler=SEEDED) for prompt in PROMPTS]
    requests = AsyncEngine(engine, max_running=8)
    passes: list[int] = []
    forward = engine.model.executor.forward_batch

    def counted(batch, outputs):  # type: ignore[no-untyped-def]
        passes.append(len(batch))
        return forward(batch, outputs)

    engine.model.executor.forward_batch = counted
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: asyncio.run(texts(requests, PROMPTS)), range(3)))
    requests.close()
    assert found == [alone] * 3
    assert max(passes) == 8
    assert len(passes) < sum(passes) / 3


def test_a_chat_finds_what_an_earlier_one_has_computed(tmp_path: Path) -> None:
    engine = load(tmp_path)
    messages = [{"role": "user", "content": "what is on the way to the house?"}]

    async def run() -> None:
        async with AsyncEngine(engine) as requests:
            first = [event async for event in requests.chat(messages, 4)]
            assert first[-1].finish_reason is not None
            before = engine.metrics_snapshot().cached_tokens
            second = [event async for event in requests.chat(messages, 4, sampler=SEEDED)]
            assert second[0].n_total == 1
            prompt = len(engine.tokenize_chat(messages))
            assert engine.metrics_snapshot().cached_tokens - before == prompt - 1
            with pytest.raises(ContextLengthError):
                [event async for event in requests.generate([5] * 200)]
            with pytest.raises(InvalidRequestError, match="no option"):
                [event async for event in requests.generate("a", temperature=1)]  # type: ignore[call-arg]
        assert engine.generate("the engine is open", 2) is not None
        engine.close()
        with pytest.raises(ModelNotLoadedError):
            requests.generate("b")
            [event async for event in requests.generate("b")]

    asyncio.run(run())


def test_idle_caches_have_a_budget(tmp_path: Path) -> None:
    engine = load(tmp_path)
    page = engine.model.executor.cache_bytes(1)
    cache = PrefixCache(2 * page)

    def ended(*tokens: int) -> None:
        conversation = engine.conversation()
        conversation.prefill(tokens)
        cache.keep(conversation)

    def n_cached(*tokens: int) -> int:
        conversation = engine.conversation()
        conversation.prompt_events(tokens, 1)
        return conversation.kv_cache_seq_len

    first, second, third = ([n, *range(20, 50)] for n in (5, 6, 7))
    ended(*first)
    ended(*second)
    assert n_cached(*first, 9) == len(first)
    ended(*first, 9, 9)  # in place of the first one
    assert n_cached(*second, 9) == len(second)
    ended(*third)
    assert n_cached(*second, 9) == 0
    assert n_cached(*first, 9, 8) == len(first) + 1
    cache.clear()
    assert n_cached(*third, 9) == 0
    assert InferenceEngine(EngineConfig(prefix_cache_bytes=0)).prefix_cache is not None
