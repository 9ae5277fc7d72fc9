"""JSON values as texts: equality, types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from ...errors import GrammarError

TYPES = ("null", "boolean", "number", "string", "array", "object")


def json_text(value: object, path: str) -> str:
    """Return a value as compact JSON.

    Raises:
        GrammarError: it is no JSON value.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise GrammarError(f"{path}: {value!r:.100} is no JSON value: {error}") from error


def type_of(value: object) -> str:
    """Return the type of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float, Decimal)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def number_texts(text: str) -> list[str]:
    """Return the ways to write a value: a float64 that is an integer may be written as one."""
    value = json.loads(text) if text[-2:] == ".0" else None
    return [text, str(int(value))] if isinstance(value, float) else [text]


@lru_cache(4096)
def equality_key(text: str) -> object:
    """Return what equal values, given as JSON, have in common: 1 and 1.0, but not true."""
    return _key(json.loads(text))


def _key(value: Any) -> object:
    if isinstance(value, Mapping):
        return ("object", frozenset((name, _key(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(_key, value)))
    return (isinstance(value, bool), value)
