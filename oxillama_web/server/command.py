"""Runs the server for the command `oxillama-web serve`."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING

from ..errors import OxiLlamaError
from ..terminal import tell
from ..validation import integer
from .config import ServerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    import uvicorn

    from ..engine import InferenceEngine

__all__ = ["ServerConfig", "check_installed", "serve"]

# Seconds that answers under way have once the server is asked to end.
_GRACE = 30
# Connections that wait to be taken; uvicorn's number.
_BACKLOG = 2048

PORT = integer(0, 65535)


def check_installed() -> None:
    """Raise OxiLlamaError if what the server needs is not installed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise OxiLlamaError(
            "the server needs FastAPI and uvicorn: pip install 'oxillama-web[server]'"
        ) from error


def serve(engine: InferenceEngine, host: str, port: int, config: ServerConfig) -> None:
    """Serve a loaded model until a signal; answers under way may end first.

    Args:
        host: the address to listen at.
        port: 0 takes a free one.
        engine, config: see `create_app`.

    Raises:
        OSError: it cannot listen there.
    """
    import uvicorn

    from .app import create_app

    app = create_app(engine, config)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE)
    )
    with listen(host, port) as listener, _ended_by_hangup(server):
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        tell(f"OpenAI's API: {url}/v1")
        tell(f"documentation: {url}/docs; Ctrl-C ends the server")
        server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections.

    Raises:
        InvalidRequestError: there can be no such port.
        OSError: the host is unknown, or the port is taken.
    """
    PORT("port", port)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot listen at {host}, port {port}: {reason}") from error


@contextlib.contextmanager
def _ended_by_hangup(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGHUP end the server as uvicorn lets SIGTERM, unless it is ignored."""
    number = getattr(signal, "SIGHUP", None)
    if number is None or signal.getsignal(number) == signal.SIG_IGN:
        yield
        return
    came = []

    def end(number: int, frame: FrameType | None) -> None:
        came.append(number)
        server.handle_exit(number, frame)

    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)
    if came:
        signal.raise_signal(number)
