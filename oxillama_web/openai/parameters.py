"""Reads the parameters of a request: each is checked, and one that is not known is refused."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from .errors import APIError, invalid


class Kind(NamedTuple):
    """What a parameter may be: a check of its value, and the same in words."""

    accepts: Callable[[Any], bool]
    description: str


def read_parameters(request: Any, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the parameters of a request that are given; null counts as absent.

    Args:
        request: the JSON object that a client has sent.
        kinds: every parameter that there is.

    Raises:
        APIError: a parameter is not known, or its value is not of its kind.
    """
    if not isinstance(request, Mapping):
        raise APIError(400, "the body of the request must be a JSON object")
    found = {}
    for name, value in request.items():
        if value is None:
            continue
        kind = kinds.get(name)
        if kind is None:
            raise invalid(str(name), f"unknown parameter {name!r}{_suggestion(name, kinds)}")
        if not kind.accepts(value):
            raise invalid(name, f"{name} is {_shown(value)}; it must be {kind.description}")
        found[name] = value
    return found


def required(parameters: Mapping[str, Any], name: str) -> Any:
    """Return a parameter that a request must have."""
    if name not in parameters:
        raise invalid(name, f"the parameter {name!r} is missing")
    return parameters[name]


def number(lowest: float, highest: float) -> Kind:
    """Return the kind of numbers in a range."""
    return Kind(
        lambda value: _is_number(value) and lowest <= value <= highest,
        f"a number from {lowest:g} to {highest:g}",
    )


def integer(lowest: int, highest: int) -> Kind:
    """Return the kind of integers in a range."""
    return Kind(
        lambda value: isinstance(value, int) and _is_number(value) and lowest <= value <= highest,
        f"an integer from {lowest} to {highest}",
    )


def one_of(*choices: str | bool) -> Kind:
    """Return the kind of a few values."""
    return Kind(
        # 0 equals False
        lambda value: isinstance(value, (str, bool)) and value in choices,
        "one of " + ", ".join(map(repr, choices)),
    )


def refused(reason: str) -> Kind:
    """Return the kind of a parameter that cannot be honoured, whatever its value."""
    return Kind(lambda value: False, f"left out: {reason}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_list_of(value: Any, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, (list, tuple)) and all(map(accepts, value))


def is_text(value: Any) -> bool:
    """Return whether a value is a text."""
    return isinstance(value, str)


def is_token_list(value: Any) -> bool:
    """Return whether a value is a list of at least one token id."""
    return bool(value) and _is_list_of(value, lambda item: type(item) is int)


def _is_prompt(value: Any) -> bool:
    """Return whether a value is a text, token ids, or a list of one of them."""
    if is_text(value) or is_token_list(value):
        return True
    return bool(value) and (_is_list_of(value, is_text) or _is_list_of(value, is_token_list))


FLAG = Kind(lambda value: isinstance(value, bool), "true or false")
TEXT = Kind(is_text, "a text")
OBJECT = Kind(lambda value: isinstance(value, Mapping), "an object")
TEXT_OR_OBJECT = Kind(lambda value: isinstance(value, (str, Mapping)), "a text or an object")
LIST = Kind(lambda value: isinstance(value, (list, tuple)), "a list")
PROMPT = Kind(_is_prompt, "a text, a list of texts, token ids, or a list of lists of token ids")
STOP = Kind(
    lambda value: is_text(value) or _is_list_of(value, is_text), "a text or a list of texts"
)
ANYTHING = Kind(lambda value: True, "")


def _suggestion(name: object, names: Collection[str]) -> str:
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
