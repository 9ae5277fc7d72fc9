"""Runs the server for the command `oxillama-web serve`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..errors import OxiLlamaError
from .config import ServerConfig

if TYPE_CHECKING:
    from ..engine import InferenceEngine

__all__ = ["ServerConfig", "check_installed", "serve"]

# Seconds that answers under way have once the server is asked to end.
_GRACE = 30


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
    """Serve a loaded model until SIGINT or SIGTERM; answers under way may end first."""
    import uvicorn

    from .app import create_app

    shown = f"[{host}]" if ":" in host else host
    print(f"OpenAI's API: http://{shown}:{port}/v1", file=sys.stderr)
    print(f"documentation: http://{shown}:{port}/docs; Ctrl-C ends the server", file=sys.stderr)
    uvicorn.run(
        create_app(engine, config),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE,
    )
