"""Large schemas compile quickly, and so do their grammars; what is too large says which limit."""

from __future__ import annotations

import json
import time
from string import ascii_letters
from typing import Any

import pytest
from grammar_helpers import shared_masks

from oxillama_web.grammar.json_schema import json_schema_to_gbnf


def tool(index: int) -> dict[str, Any]:
    """What an MCP server says of a tool, 3 kB of it descriptions."""
    told = {"description": "words " * 50}
    arguments = {
        "path": {"type": "string", "maxLength": 4096, **told},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100, **told},
        "ratio": {"type": "number", "minimum": 0, "maximum": 1, **told},
        "mode": {"enum": ["read", "write", f"mode {index}"], **told},
        "tags": {"type": "array", "items": {"type": "string"}, **told},
        "since": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}], **told},
        "options": {
            "type": "object",
            "properties": {f"option_{n}": {"type": "boolean", **told} for n in range(3)},
            "additionalProperties": False,
        },
    }
    return {
        "type": "object",
        "properties": {
            "name": {"const": f"tool_{index}"},
            "arguments": {
                "type": "object",
                "properties": arguments,
                "required": ["path", "mode"],
                "additionalProperties": False,
            },
        },
        "required": ["name", "arguments"],
    }


def opened(schema: Any) -> Any:
    """The same schema whose objects may have more properties than it names."""
    if isinstance(schema, list):
        return [opened(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: opened(item) for key, item in schema.items()}
    return {**found, "additionalProperties": True} if "properties" in found else found


def tagged(index: int) -> dict[str, Any]:
    properties = {"k": {"const": f"v{index}"}, "x": {"type": "integer"}}
    return {"type": "object", "properties": properties, "required": ["k"]}


LARGE: dict[str, tuple[Any, str]] = {
    "20,000 values": ({"enum": [f"City {n}" for n in range(20_000)]}, '"City 4711"'),
    "6,000 alternatives": ({"anyOf": [tagged(n) for n in range(6000)]}, '{"k":"v4711","x":1}'),
    "6,000 exclusive ones": ({"oneOf": [tagged(n) for n in range(6000)]}, '{"k":"v4711"}'),
    "long strings": (
        {"properties": {f"k{n}": {"type": "string", "maxLength": 65_536 - n} for n in range(4)}},
        '{"k1":"a"}',
    ),
    "a longer one": ({"type": "string", "minLength": 3, "maxLength": 2**31 - 1}, '"abc"'),
    "256 tools": (
        {"oneOf": [tool(n) for n in range(256)]},
        '{"name":"tool_7","arguments":{"path":"a","mode":"mode 7"}}',
    ),
    "256 tools of open objects": (
        opened({"oneOf": [tool(n) for n in range(256)]}),
        '{"name":"tool_7","arguments":{"path":"a","mode":"mode 7","pat":1},"x":2}',
    ),
    "1,280 long names of open objects": (
        {
            "properties": {
                f"part_{n}": {
                    "properties": {f"{k}_{n}_{'of_parts' * 6}": {} for k in ascii_letters[:20]},
                    "additionalProperties": True,
                }
                for n in range(64)
            },
            "additionalProperties": False,
        },
        '{"part_7":{"c_7_of_many":"a","c_8":2}}',
    ),
    "1,000 properties": (
        {"properties": {f"name{n}": {} for n in range(1000)}, "additionalProperties": True},
        '{"name7":1,"name3":2,"x":3}',
    ),
    "references that double": (
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                **{f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)},
                "d40": {"type": "string"},
            },
        },
        '"a"',
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_schemas_compile_within_five_seconds(name: str) -> None:
    schema, text = LARGE[name]
    start = time.process_time()
    matcher = shared_masks(json_schema_to_gbnf(schema)).matcher
    assert time.process_time() - start < 5
    assert matcher.accepts(matcher.step(matcher.start, text.encode()))
    if name.startswith("256 tools"):
        assert len(json.dumps(schema)) > 800_000
