"""Reads the parameters of a request: each is checked, and one that is not known is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import InvalidRequestError
from ..validation import Check, any_text, instance, refuse, token_ids, tuple_of
from .errors import APIError, invalid


def read_parameters(request: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the parameters of a request that are given; null counts as absent.

    Args:
        request: the JSON object that a client has sent.
        checks: that of each parameter that there is.

    Raises:
        APIError: a parameter is not known, or its value is wrong.
    """
    if not isinstance(request, Mapping):
        raise APIError(400, "the body of the request must be a JSON object")
    found = {}
    for name, value in request.items():
        if value is None:
            continue
        if name not in checks:
            raise invalid(str(name), f"unknown parameter {name!r}{_suggestion(name, checks)}")
        try:
            found[name] = checks[name](name, value)
        except InvalidRequestError as error:
            raise invalid(name, str(error)) from error
    return found


def required(parameters: Mapping[str, Any], name: str) -> Any:
    """Return a parameter that a request must have."""
    if name not in parameters:
        raise invalid(name, f"the parameter {name!r} is missing")
    return parameters[name]


# checks, besides those of validation.py

an_object = instance(Mapping, "an object")
a_list = instance((list, tuple), "a list")


def anything(name: str, value: Any) -> Any:
    """What is checked elsewhere."""
    return value


def refused(reason: str) -> Check:
    """What cannot be honoured, whatever its value."""

    def check(name: str, value: Any) -> Any:
        raise InvalidRequestError(f"leave {name} out: {reason}")

    return check


def only(*allowed: Any) -> Check:
    """Of a parameter's values those that can be honoured."""

    def check(name: str, value: Any) -> Any:
        # 0 equals False
        if not any(value == each and type(value) is type(each) for each in allowed):
            refuse(name, value, " or ".join(map(repr, allowed)))
        return value

    return check


def stop_texts(name: str, value: Any) -> tuple[str, ...]:
    """A text, or a list of texts."""
    if isinstance(value, str):
        return (value,)
    return tuple(tuple_of(any_text, "a text or a list of texts")(name, value))


def prompts(name: str, value: Any) -> list[str | list[int]]:
    """A text, token ids, or a list of one of them: a list in any case."""
    allowed = "a text, a list of texts, token ids, or a list of lists of token ids"
    if isinstance(value, str):
        return [value]
    if not isinstance(value, (list, tuple)) or not value:
        refuse(name, value, allowed)
    if all(isinstance(each, str) for each in value):
        return list(value)
    if all(isinstance(each, (list, tuple)) and each for each in value):
        return [token_ids(name, each, allowed) for each in value]
    return [token_ids(name, value, allowed)]


def _suggestion(name: object, names: Collection[str]) -> str:
    import difflib  # only what is misspelled needs it

    near = difflib.get_close_matches(str(name), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
