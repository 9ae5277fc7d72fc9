"""Answers requests of many clients with one engine, in a thread of its own.

    handlers (event loop)                      the engine's thread
    ─────────────────────                      ───────────────────
    run() ── job ──►  waiting  ──────────────►  under way: each gets a step in turn
      ▲                                                      │
      └───────────────── objects of the stream ◄─────────────┘

A step is one token or one chunk of a prompt, so that nobody waits for another's long answer.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import OxiLlamaError
from ..openai.errors import APIError, to_api_error

if TYPE_CHECKING:
    from ..openai import OpenAI
    from ..openai.answers import Json, Steps


class Whole(NamedTuple):
    """The answer as a whole, which ends a stream."""

    answer: Json


class Turns:
    """The requests that wait and that are under way.

    Attributes:
        n_requests: how many there are.
    """

    def __init__(self, client: OpenAI, *, max_running: int, max_waiting: int) -> None:
        """Start the thread.

        Args:
            client: answers the requests. Nothing else may use its engine.
            max_running: how many requests take turns.
            max_waiting: how many more may wait; those above are refused.
        """
        self.n_requests = 0
        self._client = client
        self._max_running = max_running
        self._max_requests = max_running + max_waiting
        # None only wakes the thread
        self._new: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="oxillama-answers", daemon=True)
        self._thread.start()

    async def run(self, path: str, request: Any) -> AsyncGenerator[list[Json] | Whole, None]:
        """Yield what each step of a request brings, and at last the whole answer.

        Leaving the loop ends the request.

        Raises:
            APIError: the request is wrong, or too many others wait.
        """
        if self._is_closing.is_set():
            raise APIError(503, "the server is shutting down")
        if self.n_requests >= self._max_requests:
            raise APIError(
                429, "too many requests are waiting; try again soon", code="rate_limit_exceeded"
            )
        job = _Job(path, request, asyncio.get_running_loop())
        self.n_requests += 1
        self._new.put(job)
        try:
            while True:
                result = await job.results.get()
                if isinstance(result, APIError):
                    raise result
                yield result
                if isinstance(result, Whole):
                    return
        finally:
            self.n_requests -= 1
            job.cancelled.set()

    def close(self) -> None:
        """End what is under way, and the thread."""
        self._is_closing.set()
        self._new.put(None)
        self._thread.join()

    def _loop(self) -> None:
        running: deque[_Job] = deque()
        while not self._is_closing.is_set():
            # only an idle thread waits for work
            if not running or (len(running) < self._max_running and not self._new.empty()):
                job = self._new.get()
            else:
                job = running.popleft()
            if job is not None and job.step(self._client):
                running.append(job)
        waiting = [self._new.get() for _ in range(self._new.qsize())]
        for job in filter(None, [*running, *waiting]):
            job.end(APIError(503, "the server is shutting down"))


class _Job:
    """A request, and what its handler has not taken yet."""

    def __init__(self, path: str, request: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.cancelled = threading.Event()
        self.results: asyncio.Queue[list[Json] | Whole | APIError] = asyncio.Queue()
        self._path, self._request = path, request
        self._loop = loop
        self._steps: Steps | None = None

    def step(self, client: OpenAI) -> bool:
        """Do one step in the engine's thread; return whether more will follow."""
        if self.cancelled.is_set():
            if self._steps is not None:
                self._steps.close()
            return False
        try:
            if self._steps is None:
                self._steps = client.steps(self._path, self._request)
            objects = next(self._steps)
        except StopIteration as end:
            self.end(Whole(end.value))
            return False
        except OxiLlamaError as error:
            self.end(to_api_error(error))
            return False
        except Exception as error:  # a fault of ours ends one answer, not the server
            self.end(APIError(500, f"internal error: {type(error).__name__}: {error}"))
            return False
        if objects:
            self.end(objects)
        return True

    def end(self, result: list[Json] | Whole | APIError) -> None:
        """Hand a result to the handler."""
        # the loop is closed where the server has ended before its answers
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.results.put_nowait, result)
