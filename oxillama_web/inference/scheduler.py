"""Requests of many clients over one model, in a thread of their own.

    clients (any thread or event loop)          the scheduler's thread
    ──────────────────────────────────          ──────────────────────
    run() ── job ──►  waiting  ──────────────►  running: each takes a step in each round
      ▲                                                      │
      └──────────────── results of its steps ◄───────────────┘

A step is one chunk of a prompt or one token, so nobody waits for another's long prompt or answer.
The first step of a round that needs a forward pass shares it with all others (sequence.py).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from ..errors import ModelNotLoadedError
from ..validation import integer

_T = TypeVar("_T")


class Scheduler:
    """Runs jobs side by side.

    Where there are more than may run, those of the highest priority run, and of these the ones that
    came first. The others wait; one that has begun keeps its cache meanwhile.
    """

    def __init__(self, *, max_running: int = 32) -> None:
        """Start the thread.

        Args:
            max_running: how many jobs take turns.
        """
        self._max_running = integer(1)("max_running", max_running)
        # None only wakes the thread
        self._new: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="oxillama-scheduler", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closing.is_set()

    async def run(
        self, begin: Callable[[], Iterator[_T]], priority: int = 0
    ) -> AsyncGenerator[_T, None]:
        """Yield what the steps of a job yield. Leaving the loop ends the job.

        Args:
            begin: called in the scheduler's thread; returns a generator of steps.
            priority: a higher one comes first.

        Raises:
            ModelNotLoadedError: the scheduler was closed.
            Exception: what a step has raised.
        """
        import asyncio  # a page starts sooner without it

        self._require_open()
        results: asyncio.Queue[_Result] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def deliver(result: _Result) -> None:
            try:
                loop.call_soon_threadsafe(results.put_nowait, result)
            except RuntimeError:  # the client's loop has ended before its job
                job.cancelled.set()

        job = _Job(begin, deliver, priority)
        self._new.put(job)
        try:
            while not (result := await results.get()).is_last:
                yield result.value
            if result.error is not None:
                raise result.error
        finally:
            job.cancelled.set()

    def close(self) -> None:
        """End all jobs, and the thread."""
        self._is_closing.set()
        self._new.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _require_open(self) -> None:
        if self.is_closed:
            raise ModelNotLoadedError("the scheduler was closed")

    def _loop(self) -> None:
        jobs: list[_Job[Any]] = []
        while not self.is_closed:
            jobs += self._take_new(wait=not jobs)
            # sorting is stable: those that came first stay first
            jobs.sort(key=lambda job: -job.priority)
            for job in jobs[: self._max_running]:
                job.step()
                if self.is_closed:
                    break
            for job in jobs[self._max_running :]:
                job.end_if_cancelled()
            jobs = [job for job in jobs if not job.has_ended]
        for job in [*jobs, *self._take_new(wait=False)]:
            job.end(ModelNotLoadedError("the scheduler was closed"))

    def _take_new(self, *, wait: bool) -> list[_Job[Any]]:
        """Return the jobs that have come; if none has, wait for one or for `close`."""
        new = [self._new.get()] if wait else []
        while not self._new.empty():
            new.append(self._new.get())
        return [job for job in new if job is not None]


class _Result(NamedTuple):
    value: Any = None
    is_last: bool = False
    error: BaseException | None = None


class _Job(Generic[_T]):
    """A client's steps. All but `cancelled` is used in the scheduler's thread alone."""

    def __init__(
        self,
        begin: Callable[[], Iterator[_T]],
        deliver: Callable[[_Result], None],
        priority: int,
    ) -> None:
        self.priority = integer(-(1 << 31), 1 << 31)("priority", priority)
        self.cancelled = threading.Event()
        self.has_ended = False
        self._begin = begin
        self._deliver = deliver
        self._steps: Iterator[_T] | None = None

    def step(self) -> None:
        """Take a step, and hand over what it brings."""
        self.end_if_cancelled()
        if self.has_ended:
            return
        try:
            if self._steps is None:
                self._steps = self._begin()
            value = next(self._steps)
        except StopIteration:
            self.end(None)
        except Exception as error:  # ends this job alone
            self.end(error)
        else:
            self._deliver(_Result(value))

    def end_if_cancelled(self) -> None:
        """End the job if its client has gone."""
        if self.cancelled.is_set():
            self.end(None)

    def end(self, error: BaseException | None) -> None:
        """Close the steps, and tell the client."""
        self.has_ended = True
        steps, self._steps = self._steps, None
        try:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
        except Exception as cause:
            error = error or cause
        self._deliver(_Result(is_last=True, error=error))
