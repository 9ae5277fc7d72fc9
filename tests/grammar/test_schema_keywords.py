"""What each keyword of JSON Schema lets be written: everything that validates, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grammar_helpers import shared_masks
from jsonschema import Draft4Validator, Draft202012Validator
from test_json_schema import assert_answers_validate

from oxillama_web.grammar.json_schema import json_schema_to_gbnf
from oxillama_web.grammar.masks import GrammarMasks


def text(**keywords: object) -> dict[str, Any]:
    return {"type": "string", **keywords}


def writes(masks: GrammarMasks, text: str) -> bool:
    state = masks.matcher.step(masks.matcher.start, text.encode())
    return state != 0 and masks.matcher.accepts(state)


def tagged(value: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"k": {"const": value}}, "required": ["k"]}


TRAP = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "end_line": {"type": "integer"},
        "start_line": {"type": "integer"},
    },
    "required": ["path"],
    "additionalProperties": True,
}
EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9-]+\.)+[A-Za-z]{2,}$"

# patterns that only ECMA-262 has
NOT_PYTHON = [r"^(?<year>\d{4})$", r"^\p{L}+$"]

# schema, what can be written, what cannot
CASES: list[tuple[Any, list[str], list[str]]] = [
    # numbers
    ({"type": "number", "minimum": 0}, ["0.001", "3.14159", "1e-5", "1.5e300", "5e-324"], ["-1"]),
    ({"type": "number", "exclusiveMinimum": 0}, ["0.0123", "1e-300"], ["0", "0.0", "-0.0"]),
    ({"type": "number", "minimum": 0, "exclusiveMaximum": 360}, ["359.999"], ["360", "3.6e2"]),
    ({"type": "number", "maximum": 3.4028234663852886e38}, ["1.5", "1e10", "-1e308"], ["3.5e38"]),
    ({"type": "integer"}, ["1234567890123456789", "18446744073709551615", "1e300"], ["1.5"]),
    ({"type": "integer", "minimum": 0}, ["1234567890123456"], ["-1", "-1e300"]),
    # a bound is the float64 that it is read as
    ({"type": "integer", "minimum": 5.135678221745603e16},
     ["51356782217456032", "5.135678221745603e16"], ["51356782217456030"]),
    ({"type": "number", "maximum": 51356782217456030},
     ["51356782217456030", "5.135678221745602e16"], ["51356782217456031", "5.135678221745603e16"]),
    ({"type": "integer", "multipleOf": 5}, ["10", "0", "-15", "123456785"], ["3", "52"]),
    ({"type": "number", "multipleOf": 0.25}, ["1.25", "-0.5", "7", "0.0"], ["0.3", "1.255"]),
    ({"type": "integer", "multipleOf": 3000, "minimum": 1, "maximum": 9000},
     ["3000", "9000"], ["0", "1500", "12000"]),
    ({"type": "number", "not": {"type": "integer"}}, ["1.5", "-0.25"], ["1", "1.0", "2e5"]),
    ({"type": "integer", "not": {"multipleOf": 2}}, ["7", "-1"], ["8", "0"]),
    ({"type": "integer", "not": {"enum": [3, 5]}, "minimum": 3, "maximum": 5}, ["4"], ["3", "5"]),
    # strings
    (text(pattern="^[a-z]+$", maxLength=3), ['"abc"'], ['"abcd"', '""']),
    (text(pattern="b", minLength=3, maxLength=4), ['"abc"', '"bbbb"'], ['"b"', '"aaa"']),
    (text(pattern="^[0-9a-f-]{36}$", format="uuid"),
     ['"123e4567-e89b-12d3-a456-426614174000"'], ['"' + "-" * 36 + '"']),
    (text(format="uri", minLength=1, maxLength=2083), ['"https://example.com/?q=a#b"'], ['"a"']),
    (text(pattern=EMAIL, format="email"), ['"a@b.co"'], ['".a@b.co"', '"a..b@c.co"']),
    (text(pattern=r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"), ['"1.5"', '"-7"'], ['"-"', '"."']),
    (text(pattern="^((?!mode).)*$"), ['"mod"', '""'], ['"amodel"']),
    (text(pattern=r"^(?=.*\d)(?=.*[a-z])\w{3,}$"), ['"a1b"'], ['"abc"', '"a1"']),
    (text(pattern=r"\bfoo\b"), ['"foo"', '"a foo."'], ['"food"', '"afoo"']),
    (text(pattern="(^a$)|(^b$)"), ['"a"', '"b"'], ['"ab"']),
    (text(pattern="^{.*}$"), ['"{x}"'], ['"x"']),
    (text(pattern=NOT_PYTHON[0]), ['"2026"'], ['"26"']),
    (text(pattern=NOT_PYTHON[1]), ['"aé"'], ['"a1"', '""']),
    (text(pattern="(?i)^abc$"), ['"aBc"'], ['"ab"']),
    (text(enum=["DE", "FR", "x"], pattern="^[A-Z]{2}$"), ['"DE"', '"FR"'], ['"x"']),
    (text(**{"not": {"pattern": "a$"}}), ['"ab"', '""'], ['"a"', '"ba"', r'"a\n"']),
    (text(**{"not": {"enum": ["foo", "fo"]}}), ['"f"', '"fooo"'], ['"foo"', '"fo"']),
    # formats
    (text(format="date"), ['"2024-02-29"', '"0999-01-01"'], ['"2023-02-29"', '"1900-02-29"']),
    (text(format="date-time"), ['"2026-11-30T12:00:00.123456789Z"'], ['"2026-11-31T12:00:00Z"']),
    (text(format="time"), ['"23:59:59+05:30"'], ['"24:00:00Z"', '"12:00"']),
    (text(format="duration"), ['"P3D"', '"P1Y2M3DT4H5M6S"', '"P2W"'], ['"P"', '"3D"']),
    (text(format="ipv6"), ['"::1"', '"1:2:3:4:5:6:7:8"', '"::ffff:1.2.3.4"'], ['"1:2"', '":::"']),
    (text(format="ipv4"), ['"255.0.0.1"'], ['"256.0.0.1"', '"01.0.0.1"']),
    (text(format="hostname"), ['"a-b.example"'], ['"-a"', '"a-"', '"ab--cd"', '"a_b"']),
    (text(format="email"), ['"a@b.photography"', '"user%x@example.com"'], ['"a.b"']),
    (text(format="json-pointer"), ['""', '"/a/~0b"'], ['"a"', '"/~2"']),
    (text(format="relative-json-pointer"), ['"0#"', '"1/a"'], ['"/a"', '"01"']),
    (text(format="regex"), ['"^a(b|c)+$"', '"[a-z]{2}"'], ['"("', '"a**"']),
    (text(format="uri-reference"), ['"../a?b"', '"https://a.b"', '""'], ['"a b"']),
    (text(format="uri-template"), ['"/a/{id}"'], ['"/{"']),
    (text(format="byte"), ['"eA=="', '""'], ['"e"']),
    (text(format="binary"), ['"x"'], []),
    (text(format="made-up"), ['"x"'], []),
    (text(format="email", maxLength=100), ['"a.b@c-d.example"'], ['"a"', '"@b.co"']),
    (text(format="email", minLength=12, maxLength=254), ['"a.b@c-d.example"'], ['"a@b.co"']),
    (text(format="hostname", maxLength=63), ['"example"'], ['"-"']),
    (text(format="uri", maxLength=120), ['"https://a.b/c?d#e"'], ['"a"']),
    (text(format="uri", minLength=10, maxLength=300), ['"https://a.b/c"'], ['"a://b"']),
    (text(format="regex", maxLength=50), ['"^a.b$"'], ['"("']),
    # what asserts nothing
    (text(nullable=True), ['"a"'], ["null"]),
    (text(contentEncoding="base64", propertyOrdering=["a"], typ=3, id="x", _format="date"),
     ['"eA=="'], []),
    ({"oneOf": [tagged("a"), tagged("b")], "discriminator": {"propertyName": "k"}},
     ['{"k":"a"}', '{"k":"b"}'], ['{"k":"c"}']),
    # oneOf and its kin
    ({"oneOf": [{"type": "string"}, {"required": ["a"]}]}, ['{"a":1}'], ['"x"', "{}"]),
    ({"oneOf": [{"type": "integer"}, {"properties": {"k": {"const": 1}}, "required": ["k"]}]},
     ['{"k":1}'], ["3", '{"k":2}']),
    ({"oneOf": [{"type": "string"}, {"minimum": 5}]}, ["7"], ['"x"']),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, ["1.5"], ["1", '"x"']),
    ({"oneOf": [{"const": "a"}, {"enum": ["a", "b"]}, {"const": 1}]}, ['"b"', "1"], ['"a"']),
    ({"not": {"type": ["object", "array", "string"]}}, ["1", "null", "true"], ['""', "{}"]),
    ({"not": {"const": [1]}, "type": "array"}, ["[2]", "[]", "[1,1]"], ["[1]"]),
    ({"not": {"const": {"a": 1}}, "type": "object"}, ['{"a":2}', '{"b":1}', "{}"], ['{"a":1}']),
    ({"not": {"required": ["a"]}, "type": "object"}, ['{"b":1}', "{}"], ['{"a":1}']),
    ({"type": ["object", "null"], "not": {"properties": {"a": {"type": "string"}}}},
     ['{"a":1}'], ['{"a":"x"}', "null", "{}"]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}},
      "if": {"properties": {"a": {"minimum": 5}}, "required": ["a"]},
      "then": {"required": ["b"]}, "else": {"properties": {"b": {"type": "null"}}}},
     ['{"a":5,"b":1}', '{"a":1}', '{"a":1,"b":null}', "{}"], ['{"a":5}', '{"a":1,"b":1}']),
    # arrays
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
     ["[1,2]", "[]", "[0,10,100,-1]"], ["[1,1]", "[1, 2,1]"]),
    ({"type": "array", "items": {"enum": ["a", 1, 1.0, "b"]}, "uniqueItems": True, "minItems": 2},
     ['["a",1]', '["b",1,"a"]'], ['["a"]', "[1,1]", "[1,1.0]"]),
    ({"type": "array", "items": {"type": "string", "maxLength": 4}, "uniqueItems": True,
      "maxItems": 3}, ['["a","b","ab"]', "[]"], ['["a","a"]', '["a","b","c","d"]']),
    ({"type": "array", "items": {"type": ["number", "boolean"]}, "uniqueItems": True},
     ["[1.5,1,true]", "[-2,2.5]"], ["[1,1.0]", "[true,true]", "[1.5,1.50]"]),
    ({"type": "array", "contains": {"const": 1}, "minContains": 2, "maxContains": 3},
     ["[1,2,1]", "[1,1,1]"], ["[1]", "[1,1,1,1]", "[]"]),
    ({"type": "array", "items": {"type": ["null", "integer"]}, "contains": {"type": "integer"}},
     ["[null,1]", "[1]"], ["[null]", "[]", '["a"]']),
    ({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
     ["[]", "[1]", '[1,"a","b"]'], ['["a"]', "[1,2]"]),
    ({"type": "array", "prefixItems": [{"type": "null"}], "unevaluatedItems": False},
     ["[null]"], ["[1]", "[null,1]"]),
    # objects
    (TRAP, ['{"path":"a","start_line":1,"end_line":2}', '{"path":"a","x":1,"end_line":2}'],
     ['{"path":"a","end_line":1,"end_line":2}', '{"path":"a","end_line":"b"}']),
    ({"type": "object", "properties": {"a": {"const": "foo"}, "b": {"const": "bar"}},
      "required": ["b"], "additionalProperties": True},
     ['{"b":"bar","a":"foo"}', '{"b":"bar","a_":1}'], ['{"b":"bar","a":1}']),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
     ['{"a":1,"b":2}', '{"name1":1,"name2":2,"x":3}'], ['{"a":1}', '{"a":1,"a":2}', "{}"]),
    ({"type": "object", "properties": {"a": {}}, "required": ["a"], "minProperties": 3,
      "additionalProperties": {"type": "integer"}},
     ['{"a":1,"b":2,"c":3}'], ['{"a":1,"b":2}', '{"a":1,"b":2,"b":3}']),
    ({"type": "object", "propertyNames": {"pattern": "^[a-z]+$", "maxLength": 3},
      "additionalProperties": {"type": "number"}}, ['{"abc":1}', "{}"], ['{"A":1}', '{"abcd":1}']),
    ({"type": "object", "propertyNames": {"enum": ["a", "b"]}, "minProperties": 1},
     ['{"a":1}', '{"a":1,"b":2}'], ['{"c":1}', "{}", '{"a":1,"a":1}']),
    ({"type": "object", "patternProperties": {"^x": {"type": "integer"}, "y$": {"minimum": 5}},
      "additionalProperties": False}, ['{"x1":1,"xy":7,"ay":"b"}'], ['{"xy":1}', '{"a":1}']),
    ({"type": "object", "properties": {"xa": {"type": "string"}},
      "patternProperties": {"^x": {"minLength": 2}}}, ['{"xa":"ab","xb":1}'], ['{"xa":"a"}']),
    ({"type": "object", "properties": {"a": {}, "b": {}, "c": {}},
      "dependentRequired": {"a": ["c"]}},
     ['{"b":1}', '{"a":1,"c":2}'], ['{"a":1}', '{"a":1,"b":2}']),
    ({"type": "object", "properties": {"a": {}, "b": {}}, "dependentSchemas":
      {"a": {"properties": {"b": {"type": "null"}}, "required": ["b"]}}},
     ['{"b":1}', '{"a":1,"b":null}'], ['{"a":1}', '{"a":1,"b":2}']),
    ({"type": "object", "properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}],
      "unevaluatedProperties": False}, ['{"a":1,"b":2}'], ['{"c":1}']),
    # references
    ({"$defs": {"x": {"$anchor": "X", "type": "integer"}}, "$ref": "#X"}, ["1"], ['"a"']),
    ({"$id": "https://example.com/root.json", "$defs": {"x": {"type": "integer"}},
      "$ref": "https://example.com/root.json#/$defs/x"}, ["1"], ['"a"']),
    ({"$id": "https://example.com/a/root", "$ref": "item", "$defs":
      {"i": {"$id": "item", "type": "array", "items": {"$ref": "root#/$defs/n"}},
       "n": {"type": "null"}}}, ["[null]"], ["[1]"]),
    ({"type": "object", "properties": {"a": {"type": "null"}, "b": {"$ref": "#"}},
      "required": ["a"], "additionalProperties": False},
     ['{"a":null,"b":{"a":null}}'], ['{"a":null,"b":{}}']),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_what_a_keyword_allows_can_be_written(case: tuple[Any, list[str], list[str]]) -> None:
    schema, writable, others = case
    masks = shared_masks(json_schema_to_gbnf(schema))
    assert [text for text in writable if not writes(masks, text)] == []
    assert [text for text in others if writes(masks, text)] == []
    if schema.get("pattern") in NOT_PYTHON:
        return
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [text for text in writable if not validator.is_valid(json.loads(text))] == []


@pytest.mark.parametrize("index", range(0, len(CASES), 3))
def test_random_answers_to_keywords_validate(index: int) -> None:
    schema = CASES[index][0]
    if schema.get("pattern") not in NOT_PYTHON:
        assert_answers_validate(schema, 3, seed=index)


DRAFT_4: list[tuple[Any, list[str], list[str]]] = [
    ({"minimum": 3, "exclusiveMinimum": True, "type": "number"}, ["3.5", "4"], ["3", "3.0"]),
    ({"items": [{"type": "null"}], "additionalItems": {"type": "integer"}, "type": "array"},
     ["[null,1]", "[null]"], ["[1]", '[null,"a"]']),
    ({"id": "http://example.com/root#", "definitions": {"a": {"id": "#a", "type": "null"}},
      "$ref": "#a"}, ["null"], ["1"]),
    ({"type": "object", "dependencies": {"a": ["b"]}, "properties": {"a": {}, "b": {}}},
     ['{"a":1,"b":1}', '{"b":1}'], ['{"a":1}']),
]  # fmt: skip


@pytest.mark.parametrize("case", DRAFT_4, ids=range(len(DRAFT_4)))
def test_older_drafts(case: tuple[Any, list[str], list[str]]) -> None:
    schema, writable, others = case
    schema = {"$schema": "http://json-schema.org/draft-04/schema#", **schema}
    masks = shared_masks(json_schema_to_gbnf(schema))
    assert [text for text in writable if not writes(masks, text)] == []
    assert [text for text in others if writes(masks, text)] == []
    assert all(Draft4Validator(schema).is_valid(json.loads(text)) for text in writable)
