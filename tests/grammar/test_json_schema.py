"""Schemas compiled to grammars: random answers validate, and what must be writable is."""

from __future__ import annotations

import json
import random
import re
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from grammar_helpers import LOGITS_OPS, PIECES, accepts, random_answer, shared_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from oxillama_web import GrammarError, InvalidRequestError, SamplerConfig
from oxillama_web.grammar.json_schema import json_schema_to_gbnf

KERNELS = LOGITS_OPS["kernels"]
# ends of things are more likely than in random text, so that most answers end
LIKES = {
    **{ord(char): 4.0 for char in '"}]'},
    **{ord(char): -3.0 for char in "{[\\"},
    **{token: 1.0 for token in PIECES.eog_ids},
}

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 3, None]}, "maxItems": 3},
    },
    "required": ["age"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
            },
            "required": ["value"],
        }
    },
    "$ref": "#/$defs/node",
}
SHAPES = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "circle"}, "radius": {"type": "number", "minimum": 0}},
            "required": ["kind", "radius"],
        },
        {
            "type": "object",
            "properties": {"kind": {"const": "square"}, "side": {"type": "integer"}},
            "required": ["kind"],
        },
    ]
}

# schema, what can be written, what cannot
CASES: list[tuple[Any, list[str], list[str]]] = [
    (True, ["1", '"a"', "[]", '{"a": [null]}', "-1.5e-10"], ["", "01", "[1,]", '"\\ud800"']),
    (PERSON, ['{"age": 3}', '{"name": "x","age":130}', '{"age":0, "tags":[]}'],
     ["{}", '{"age":131}', '{"age":1,}', '{"name":"x"}', '{"age":1,"x":2}', '{"age":1,"age":2}']),
    (TREE, ['{"value":1,"children":[{"value":2},{"value":3,"children":[]}]}'], ['{"children":[]}']),
    (SHAPES, ['{"kind":"circle","radius":2}', '{"kind":"square"}'],
     ['{"kind":"circle"}', '{"kind":"square","radius":1}', '{"kind":"circle","radius":-1}']),
    ({"type": "string"}, ['""', '"é😀\\n\\u00e9\\ud83d\\ude00"'], ['"\n"', '"\\ud83d"', '"\\x"']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"é😀"', '"\\ud83d\\ude00a"'],
     ['"\\ud83d\\ude00"', '"abcd"']),
    ({"type": "string", "pattern": r"^\d{3}-[^\s\"a-y]+(x|yz)?$"}, ['"123-ZZx"', '"000-z"'],
     ['"12-z"', '"123-"', '"123-a"']),
    ({"type": "string", "pattern": "b+"}, ['"abbc"', '"b"', '"\\nb"'], ['"ac"', '""']),
    ({"type": "string", "pattern": r'^["\\\n]$'}, ['"\\""', '"\\\\"', '"\\n"'], ['"n"', '"""']),
    ({"type": "string", "format": "date"}, ['"2024-12-31"'], ['"2024-02-30"', '"2024-13-01"']),
    ({"type": "string", "format": "date-time"}, ['"2024-01-01T23:59:00.5+01:00"'], ['"2024"']),
    ({"type": "string", "format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"'], ['"1"']),
    ({"type": ["integer", "null"], "minimum": -5, "exclusiveMaximum": 12},
     ["-5", "0", "11", "null", "-1", "9"], ["-6", "12", "-0", "1.0", "007"]),
    ({"type": "number", "minimum": 0, "maximum": 1}, ["0", "1", "0.5", "0.123456", "1.0", "0.0"],
     ["1.1", "-0.5", "2", "1.00001"]),
    ({"type": "number", "exclusiveMinimum": -0.5, "exclusiveMaximum": 0.25},
     ["0", "-0.49", "0.24", "0.249", "-0.123456"], ["-0.5", "0.25", "0.250", "-0.50"]),
    ({"enum": ["a b", 1, 1.5, None, {"k": [True]}, "\"{}"]},
     ['"a b"', "1", '{"k":[true]}', '"\\"{}"'], ["2", '"a"']),
    ({"const": "x", "type": "string"}, ['"x"'], ['"y"']),
    ({"enum": [1, "a", True], "type": "integer"}, ["1"], ["true", '"a"']),
    ({"enum": [1, "ab", True, 9, "abc"], "maximum": 5, "minLength": 3},
     ["1", '"abc"', "true"], ["9", '"ab"']),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"const": "x"}], "items": False},
     ['[1,"x"]', '[ 1, "x" ]'], ["[1]", '[1,"x",2]']),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
     ["[true,false]", "[true, true, true]"], ["[]", "[true]", "[true,true,true,true]"]),
    ({"type": "array", "maxItems": 0}, ["[]", "[ ]"], ["[1]"]),
    ({"type": "object", "additionalProperties": {"type": "integer"}},
     ["{}", '{"a":1,"":2}'], ['{"a":"b"}']),
    ({"type": "object", "properties": {"ab": {"type": "string"}, "a": {"type": "null"}},
      "additionalProperties": {"type": "integer"}, "maxProperties": 2},
     ['{"ab":"x"}', '{"a":null,"abc":1}', '{"b":1,"aa":2}', "{}", '{"a":null}'],
     ['{"ab":1}', '{"a":1}', '{"ab":"x","a":null,"c":1}']),
    ({"properties": {"a": {}, "b": {}, "c": False}, "minProperties": 1},
     ['{"a":1}', '{"b":1}', '{"a":1,"b":{}}'], ["{}", '{"c":1}']),
    ({"allOf": [{"properties": {"a": {"type": "number"}}, "required": ["a"]},
                {"properties": {"a": {"minimum": 5, "type": "integer"}, "b": {"type": "null"}}}]},
     ['{"a":5}', '{"a":7,"b":null}'], ['{"a":4}', '{"a":5.5}', "{}"]),
    ({"allOf": [{"properties": {"a": {"type": "number"}}, "additionalProperties": False},
                {"properties": {"b": {"type": "number"}}}]}, ["{}", '{"a":1}'], ['{"b":1}']),
    ({"anyOf": [{"type": "string"}, {"$ref": "#/anyOf/2/items"},
                {"type": "array", "items": {"type": "integer"}}]}, ['"x"', "3", "[1,2]"], ["null"]),
    ({"$ref": "#/$defs/a~1b", "maximum": 3, "$defs": {"a/b": {"type": "integer", "minimum": 1}}},
     ["1", "3"], ["0", "4"]),
    ({"required": ["x"], "additionalProperties": {"type": "null"}}, ['{"x":null}'], ['{"x":1}']),
    ({"type": "object", "title": "t", "x-order": 1}, ["{}", '{"a":{"b":[]}}'], ["[]"]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_what_a_schema_allows_can_be_written(case: tuple[Any, list[str], list[str]]) -> None:
    schema, writable, others = case
    Draft202012Validator.check_schema(schema)
    gbnf = json_schema_to_gbnf(schema)
    assert [text for text in writable if not accepts(gbnf, text)] == []
    assert [text for text in others if accepts(gbnf, text)] == []
    validator = Draft202012Validator(schema)
    assert all(validator.is_valid(json.loads(text)) for text in writable)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_random_answers_validate(case: tuple[Any, list[str], list[str]]) -> None:
    assert_answers_validate(case[0], 6, seed=1)


def assert_answers_validate(schema: Any, n: int, seed: int) -> int:
    """How many of n random answers came to their end; those that did validate."""
    validator = Draft202012Validator(schema)
    masks = shared_masks(json_schema_to_gbnf(schema), PIECES)
    rng = np.random.default_rng(seed)
    n_finished = 0
    for index in range(n):
        config = [{"top_k": 40}, {"top_k": 0}, {"temperature": 0.0}][index % 3]
        answer = random_answer(masks, KERNELS, rng, likes=LIKES, max_tokens=1500, **config)
        if answer is not None:
            n_finished += 1
            value = json.loads(answer.decode())
            errors = [error.message for error in validator.iter_errors(value)]
            assert errors == [], answer
    return n_finished


class RandomSchemas:
    """Schemas with everything that is supported."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def schema(self, depth: int) -> Any:
        """One that is at most so deep."""
        kinds = [self.scalar, self.scalar, self.string, self.number]
        if depth:
            kinds += [self.object, self.object, self.array, self.array, self.any_of, self.all_of]
        return self._random.choice(kinds)(depth - 1)

    def scalar(self, _: int) -> Any:
        values = [None, True, False, 0, -3, 1.5, "", "a", 'q"\\', "é", [], [1, "a"], {"a": None}]
        some = self._random.sample(values, self._random.randint(1, 5))
        kinds = ["string", "boolean", "null", "number", "integer"]
        options = [{"enum": some}, {"const": some[0]}, {"type": self._random.sample(kinds, 2)}]
        return self._random.choice([*options, {"type": "boolean"}, {"type": "string"}])

    def string(self, _: int) -> Any:
        lengths = sorted(self._random.choices(range(6), k=2))
        patterns = ["^a|b$", "[^a-z]{2}", r"^\w+\.\d?$", "é.", r'^["\\x41-\x43\]]{2,}$']
        formats = ["date", "time", "date-time", "uuid", "email", "ipv4", "hostname"]
        fields = self._random.choice(
            [
                {"minLength": lengths[0], "maxLength": lengths[1]},
                {"minLength": lengths[1]},
                {"maxLength": lengths[1]},
                {"pattern": self._random.choice(patterns)},
                {"format": self._random.choice(formats)},
            ]
        )
        return {"type": "string", **fields}

    def number(self, _: int) -> Any:
        low = self._random.choice([-1000, -12, -0.75, 0, 0.1, 3, 99.5])
        high = low + self._random.choice([1, 2.5, 17, 2000])
        bounds = {
            self._random.choice(["minimum", "exclusiveMinimum"]): low,
            self._random.choice(["maximum", "exclusiveMaximum"]): high,
        }
        if self._random.random() < 0.3:
            del bounds[self._random.choice(list(bounds))]
        return {"type": self._random.choice(["integer", "number"]), **bounds}

    def object(self, depth: int) -> Any:
        names = self._random.sample(["a", "b", "name", "an", 'q"\\', "é", ""], k=4)
        names = names[: self._random.randint(0, 4)]
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: self.schema(depth) for name in names},
            "required": [name for name in names if self._random.random() < 0.5],
        }
        if self._random.random() < 0.5:
            schema["additionalProperties"] = self._random.choice([False, self.schema(depth)])
        if self._random.random() < 0.3:
            schema["maxProperties"] = max(1, len(names) - 1, len(schema["required"]))
        if self._random.random() < 0.3 and names:
            schema["minProperties"] = 1
        return schema

    def array(self, depth: int) -> Any:
        if self._random.random() < 0.3:
            items = [self.schema(depth) for _ in range(self._random.randint(1, 3))]
            return {"type": "array", "prefixItems": items, "items": False}
        least = self._random.randint(0, 2)
        schema = {"type": "array", "items": self.schema(depth), "minItems": least}
        if self._random.random() < 0.8:
            schema["maxItems"] = least + self._random.randint(0, 2)
        return schema

    def any_of(self, depth: int) -> Any:
        return {"anyOf": [self.schema(depth) for _ in range(self._random.randint(1, 3))]}

    def all_of(self, depth: int) -> Any:
        parts = [self.object(depth), self.object(depth)]
        return self._random.choice([{"allOf": parts}, {**parts[0], "allOf": parts[1:]}])


@pytest.mark.slow
def test_answers_of_200_random_schemas_validate() -> None:
    """Random logits write them, so nothing but the grammar keeps an answer in shape."""
    schemas, tried, refused = RandomSchemas(2), set(), []
    n_finished = 0
    while len(tried) < 200:
        schema = schemas.schema(3)
        text = json.dumps(schema)
        Draft202012Validator.check_schema(schema)
        if text in tried:
            continue
        try:
            n_finished += assert_answers_validate(schema, 3, seed=len(tried))
        except GrammarError as error:
            refused.append(str(error))
            continue
        tried.add(text)
    assert n_finished >= 500
    # only what cannot be merged, or what no value fits
    reasons = re.compile("merged|ends|together|beside")
    assert [message for message in refused if not reasons.search(message)] == []
    assert len(refused) < 40


BOUND = st.one_of(st.integers(-2000, 2000), st.integers(-500, 500).map(lambda n: n / 8))


@settings(max_examples=150, deadline=None)
@given(
    BOUND, BOUND, st.booleans(), st.booleans(), st.sampled_from(["integer", "number"]), st.data()
)
def test_numbers_between_bounds(
    a: float, b: float, without_a: bool, without_b: bool, kind: str, data: st.DataObject
) -> None:
    low, high = min(a, b), max(a, b) + 2
    keys = (
        "exclusiveMinimum" if without_a else "minimum",
        "exclusiveMaximum" if without_b else "maximum",
    )
    schema = {"type": kind, keys[0]: low, keys[1]: high}
    gbnf = json_schema_to_gbnf(schema)
    masks = shared_masks(gbnf)
    validator = Draft202012Validator(schema)
    scale = 0 if kind == "integer" else data.draw(st.integers(0, 4))
    near = [Decimal(str(bound)) + Decimal(d).scaleb(-scale) for bound in (low, high)
            for d in (-1, 0, 1)]  # fmt: skip
    drawn = [Decimal(data.draw(st.integers(-2100, 2100))) for _ in range(3)]
    for value in [*near, *drawn]:
        if kind == "integer" and value % 1:
            continue
        text = str(value)
        if kind == "integer":
            text = str(int(value))
        state = masks.matcher.step(masks.matcher.start, text.encode())
        matches = state != 0 and masks.matcher.accepts(state)
        if text.startswith("-0") and not float(text):
            continue
        valid = validator.is_valid(json.loads(text))
        n_decimals = len(text.partition(".")[2])
        # all of few decimals can be written
        if matches or n_decimals <= 2:
            assert matches == valid, (schema, text)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "no JSON"),
        (3, "object or a boolean"),
        ({"type": "text"}, "no type 'text'"),
        ({"type": "array", "items": {"type": "object"}, "uniqueItems": True}, "uniqueItems"),
        ({"type": "number", "multipleOf": 1234.5}, "multipleOf"),
        ({"type": "number", "multipleOf": 0}, "no value of 'multipleOf'"),
        ({"not": {"uniqueItems": True}}, "uniqueItems"),
        ({"not": {"format": "regex"}, "type": "string"}, "'regex'"),
        (
            {"not": {"additionalProperties": {"type": "null"}}, "type": "object"},
            "cannot be written",
        ),
        ({"dependentRequired": {"a": 1}}, "no value of 'dependentRequired'"),
        ({"type": "string", "pattern": r"(a)\1"}, "\\1"),
        ({"type": "string", "pattern": "(?<=a)b"}, "look back"),
        ({"type": "string", "pattern": "a{3,1}"}, "fewer"),
        ({"type": "string", "pattern": "(a"}, "expected )"),
        ({"type": "string", "pattern": r"\p{Q}"}, "not supported"),
        ({"$ref": "#/nowhere"}, "points to nothing"),
        ({"$ref": "other.json"}, "not supported"),
        ({"$ref": "#"}, "end"),
        ({"$ref": "#", "type": "object"}, "end"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "ends"),
        ({"not": {}}, "ends"),
        ({"$ref": "https://example.com/other"}, "points out of the schema"),
        (
            {
                "oneOf": [
                    {"type": "array", "items": {"type": "number"}, "uniqueItems": True},
                    {"type": "array", "uniqueItems": True},
                ]
            },
            "may fit both",
        ),
        (False, "ends"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "ends"),
        ({"enum": []}, "ends"),
        ({"anyOf": []}, "list of schemas"),
        ({"minLength": -1}, "no value of 'minLength'"),
        ({"required": "a"}, "no value of 'required'"),
        ({"enum": [float("nan")]}, "no JSON value"),
        ({"enum": ["\ud800"]}, "surrogate"),
    ],
)
def test_what_is_wrong_or_not_supported_is_refused(schema: Any, message: str) -> None:
    start = time.process_time()
    with pytest.raises(GrammarError, match=re.escape(message)):
        shared_masks(json_schema_to_gbnf(schema))
    assert time.process_time() - start < 5


def nested(n: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(n):
        schema = {"properties": {"a": schema}}
    return schema


def doubling(n: int) -> dict[str, Any]:
    refs = [{"$ref": f"#/$defs/d{i + 1}"} for i in range(n)]
    steps = {f"d{i}": {"anyOf": [ref, ref], "minLength": i} for i, ref in enumerate(refs)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{n}": {"type": "string"}}}


@pytest.mark.parametrize(
    "schema",
    [
        nested(300),
        nested(5000),
        doubling(1000),
        {
            "allOf": [
                {"anyOf": [{"properties": {f"p{i}": {"const": j}}} for j in range(30)]}
                for i in range(5)
            ]
        },
        {"dependentRequired": {f"a{i}": [f"b{i}"] for i in range(20)}},
        {"type": "string", "pattern": "(a|b)*a(a|b){20}", "maxLength": 100},
        {"type": "string", "pattern": "(((((a{100}){100}){100}){100}){100})", "maxLength": 5},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "(((((a{100}){100}){100}){100}){100})"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {
            "$ref": "#/$defs/a",
            "type": "object",
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        },
    ],
    ids=range(11),
)
def test_pathological_schemas_end_quickly_in_an_error(schema: Any) -> None:
    start = time.process_time()
    with pytest.raises(GrammarError):
        shared_masks(json_schema_to_gbnf(schema))
    assert time.process_time() - start < 10


def test_a_long_chain_of_references_is_no_problem() -> None:
    refs = {f"d{i}": {"type": "array", "items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(150)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**refs, "d150": {"type": "null"}}}
    assert accepts(json_schema_to_gbnf(schema), "[" * 150 + "null" + "]" * 150)


def test_compact_json_has_no_spaces() -> None:
    gbnf = json_schema_to_gbnf(json.dumps(PERSON), spaces=False)
    assert accepts(gbnf, '{"name":"x","age":1}')
    assert not accepts(gbnf, '{"name":"x", "age":1}')


def test_a_config_has_a_grammar_or_a_schema() -> None:
    with pytest.raises(InvalidRequestError, match="not both"):
        SamplerConfig(grammar='root ::= "a"', json_schema={})
