"""Requests take turns in one thread: limits, faults and the end, with steps that are held up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from oxillama_web.openai import APIError
from oxillama_web.server.turns import Turns, Whole


class Client:
    """Its requests are lists of what each step does: objects to yield, or an error to raise."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.order: list[object] = []
        self.ended: list[object] = []

    def steps(self, path: str, request: list) -> Iterator[list]:
        try:
            for step in request:
                self.go_on.wait(10)
                self.order.append(step)
                if isinstance(step, Exception):
                    raise step
                yield [step]
            return {"sum": request}
        finally:
            self.ended.append(request)


@pytest.fixture
def client() -> Client:
    return Client()


async def collect(turns: Turns, request: list) -> list:
    found = []
    async for result in turns.run("completions", request):
        found.append(result.answer if isinstance(result, Whole) else result[0])
    return found


def test_answers_take_turns(client: Client) -> None:
    async def run() -> None:
        turns = Turns(client, max_running=2, max_waiting=9)
        jobs = [asyncio.create_task(collect(turns, [f"{n}{s}" for s in "abc"])) for n in range(3)]
        await asyncio.sleep(0.1)
        assert turns.n_requests == 3
        client.go_on.set()
        answers = await asyncio.gather(*jobs)
        assert answers[1] == ["1a", "1b", "1c", {"sum": ["1a", "1b", "1c"]}]
        # two at a time; the third begins where one has ended
        assert client.order == ["0a", "1a", "0b", "1b", "0c", "1c", "2a", "2b", "2c"]
        assert turns.n_requests == 0
        await asyncio.to_thread(turns.close)

    asyncio.run(run())


def test_limits_faults_and_the_end(client: Client) -> None:
    async def run() -> None:
        turns = Turns(client, max_running=1, max_waiting=1)
        first = asyncio.create_task(collect(turns, ["a", "b", "c"]))
        second = asyncio.create_task(collect(turns, [ZeroDivisionError("oops")]))
        await asyncio.sleep(0.1)
        with pytest.raises(APIError, match="too many") as caught:
            await collect(turns, ["d"])
        assert caught.value.status == 429
        # who leaves frees the place at once, and the engine at its next step
        first.cancel()
        await asyncio.sleep(0)
        client.go_on.set()
        with pytest.raises(APIError, match="internal error: ZeroDivisionError: oops") as caught:
            await second
        assert caught.value.status == 500
        assert client.ended[0] == ["a", "b", "c"] and "c" not in client.order
        client.go_on.clear()
        last = asyncio.create_task(collect(turns, ["e", "f"]))
        await asyncio.sleep(0.1)
        closing = asyncio.create_task(asyncio.to_thread(turns.close))
        await asyncio.sleep(0.1)
        client.go_on.set()
        await closing
        with pytest.raises(APIError, match="shutting down"):
            await last

    asyncio.run(run())
