"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerConfig:
    """What the server allows.

    Attributes:
        api_keys: one of them must be sent as a bearer token; none lets everybody in.
        max_body_bytes: of a request.
        max_running: how many requests take turns.
        max_waiting: how many more may wait.
    """

    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 16 << 20
    max_running: int = 8
    max_waiting: int = 256
