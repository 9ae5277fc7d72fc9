"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass

from ..validation import check_settings, integer, nonempty_texts, setting


@dataclass(frozen=True)
class ServerConfig:
    """What the server allows.

    Attributes:
        api_keys: one of them must be sent as a bearer token; none lets everybody in.
        max_body_bytes: of a request.
        max_running: how many requests are computed at the same time.
        max_waiting: how many more may wait.

    Raises:
        InvalidRequestError: a value is out of range or of another kind.
    """

    api_keys: tuple[str, ...] = setting((), nonempty_texts)
    max_body_bytes: int = setting(16 << 20, integer(1))
    max_running: int = setting(32, integer(1))
    max_waiting: int = setting(256, integer(0))

    def __post_init__(self) -> None:
        check_settings(self)
