"""Checks of what a caller chooses."""

from __future__ import annotations

from .errors import InvalidRequestError


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise InvalidRequestError unless the condition holds.

    Args:
        name: the option that the condition is about.
        value: what it was set to.
        allowed: what it may be, for the message.
    """
    if not condition:
        raise InvalidRequestError(f"{name} is {value!r}; it must be {allowed}")
