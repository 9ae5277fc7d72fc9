"""The format that an answer must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import invalid

_NAME = "response_format"


def read_response_format(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the JSON Schema that an answer must follow, or None if it is free text.

    Raises:
        APIError: the format is unknown, or lacks its schema.
    """
    kind = "text" if wanted is None else wanted.get("type")
    if wanted is None or kind == "text":
        return None
    if kind == "json_object":
        return _schema(wanted.get("schema") or {"type": "object"})
    if kind != "json_schema":
        raise invalid(_NAME, f"the type {kind!r} is none of text, json_object, json_schema")
    named = wanted.get("json_schema")
    if not isinstance(named, Mapping) or named.get("schema") is None:
        raise invalid(_NAME, "a json_schema format needs json_schema.schema")
    return _schema(named["schema"])


def _schema(schema: Any) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        raise invalid(_NAME, f"the schema is {schema!r:.80}; it must be an object")
    return schema
