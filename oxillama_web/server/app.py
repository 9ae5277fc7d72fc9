"""The server's paths: requests in, JSON or server-sent events out."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from .. import __version__
from ..openai import APIError, OpenAI
from ..openai.answers import Json
from .config import ServerConfig
from .turns import Turns, Whole

if TYPE_CHECKING:
    from ..engine import InferenceEngine

Results = AsyncGenerator[list[Json] | Whole, None]

_PATHS = ("chat/completions", "completions", "embeddings", "responses", "rerank")
# A client that waits for its whole answer is looked for this often, in seconds.
_POLL = 0.5


def create_app(engine: InferenceEngine, config: ServerConfig | None = None) -> FastAPI:
    """Return an ASGI application over an engine that has a model; nothing else may use it."""
    config = config or ServerConfig()
    client = OpenAI(engine)
    turns = Turns(client, max_running=config.max_running, max_waiting=config.max_waiting)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        turns.close()

    app = FastAPI(title="oxillama-web", version=__version__, lifespan=lifespan)
    app.add_exception_handler(APIError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)

    @app.middleware("http")
    async def authorize(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if request.url.path.startswith("/v1/") and not _is_allowed(request, config.api_keys):
            return _error_response(
                APIError(401, "the API key is missing or wrong", code="invalid_api_key")
            )
        return await call_next(request)

    @app.get("/health")
    async def health() -> Json:
        """Tell that the server runs, and how many requests it has."""
        return {"status": "ok", "requests": turns.n_requests}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        """Return counters in Prometheus' format."""
        return PlainTextResponse(engine.metrics_snapshot().to_prometheus())

    @app.get("/v1/models")
    async def models() -> Json:
        """List the one model."""
        return client.models.list()

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> Json:
        """Return the model by its name."""
        return client.models.retrieve(model)

    for path in _PATHS:
        app.post(f"/v1/{path}", response_model=None)(_handler(path, turns, config))
    return app


def _handler(
    path: str, turns: Turns, config: ServerConfig
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        wanted = await _read_body(request, config.max_body_bytes)
        results = turns.run(path, wanted)
        if isinstance(wanted, dict) and wanted.get("stream") is True:
            # the first step tells whether the request is right, while there can be a status yet
            first = await anext(results)
            return StreamingResponse(_events(first, results), media_type="text/event-stream")
        return await _whole(request, results)

    handle.__name__ = path.replace("/", "_")
    handle.__doc__ = f"OpenAI's `/v1/{path}`."
    return handle


async def _read_body(request: Request, max_bytes: int) -> Any:
    """Return the JSON of a request, which is read no further than it may be long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise APIError(413, f"the request has more than {max_bytes} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise APIError(400, f"the body of the request is not JSON: {error}") from error


async def _whole(request: Request, results: Results) -> Response:
    """Wait for the whole answer, unless the client goes away."""
    answer = asyncio.create_task(_last(results))
    try:
        while not (await asyncio.wait({answer}, timeout=_POLL))[0]:
            if await request.is_disconnected():
                return Response(status_code=499)  # nobody reads it
        return JSONResponse(answer.result())
    finally:
        answer.cancel()


async def _last(results: Results) -> Json:
    async for result in results:
        if isinstance(result, Whole):
            return result.answer
    raise AssertionError("a stream ends with the whole answer")


async def _events(first: list[Json] | Whole, results: Results) -> AsyncIterator[str]:
    """Yield server-sent events; an error that comes later is one of them."""
    result = first
    try:
        while not isinstance(result, Whole):
            for each in result:
                yield _event(each)
            result = await anext(results)
    except APIError as error:
        yield _event(error.body())
    finally:
        await results.aclose()
    yield "data: [DONE]\n\n"


def _event(body: Json) -> str:
    # the events of a response are named, too
    name = f"event: {body['type']}\n" if "type" in body else ""
    return f"{name}data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _is_allowed(request: Request, keys: tuple[str, ...]) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    is_known = [hmac.compare_digest(token.encode(), key.encode()) for key in keys]
    return not keys or (scheme.lower() == "bearer" and any(is_known))


def _error_response(error: APIError) -> JSONResponse:
    return JSONResponse(error.body(), error.status)


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, APIError)
    return _error_response(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error_response(APIError(error.status_code, f"{error.detail}: {request.url.path}"))
