"""The requests of a server: how many there may be, and what goes wrong in the API's own shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import OxiLlamaError
from ..inference.scheduler import Scheduler
from ..openai.errors import APIError, to_api_error

if TYPE_CHECKING:
    from ..openai import OpenAI
    from ..openai.answers import Json


class Whole(NamedTuple):
    """The answer as a whole, which ends a stream."""

    answer: Json


class Turns:
    """The requests that wait and that are under way.

    Attributes:
        n_requests: how many there are.
    """

    def __init__(self, client: OpenAI, *, max_running: int, max_waiting: int) -> None:
        """Start the scheduler's thread.

        Args:
            client: answers the requests.
            max_running: how many requests are computed at the same time.
            max_waiting: how many more may wait; those above are refused.
        """
        self.n_requests = 0
        self._client = client
        self._max_requests = max_running + max_waiting
        self._scheduler = Scheduler(max_running=max_running)

    async def run(self, path: str, request: Any) -> AsyncGenerator[list[Json] | Whole, None]:
        """Yield what each step of a request brings, and at last the whole answer.

        Leaving the loop ends the request.

        Raises:
            APIError: the request is wrong, too many others wait, or the server ends.
        """
        if self._scheduler.is_closed:
            raise APIError(503, "the server is shutting down")
        if self.n_requests >= self._max_requests:
            raise APIError(
                429, "too many requests are waiting; try again soon", code="rate_limit_exceeded"
            )
        self.n_requests += 1
        try:
            async with aclosing(
                self._scheduler.run(lambda: self._results(path, request))
            ) as results:
                async for result in results:
                    if result:
                        yield result
        except OxiLlamaError as error:
            if self._scheduler.is_closed:
                raise APIError(503, "the server is shutting down") from error
            raise to_api_error(error) from error
        except Exception as error:  # a fault of ours ends one answer, not the server
            raise APIError(500, f"internal error: {type(error).__name__}: {error}") from error
        finally:
            self.n_requests -= 1

    def close(self) -> None:
        """End what is under way, and the thread."""
        self._scheduler.close()

    def _results(self, path: str, request: Any) -> Iterator[list[Json] | Whole]:
        answer = yield from self._client.steps(path, request)
        yield Whole(answer)
