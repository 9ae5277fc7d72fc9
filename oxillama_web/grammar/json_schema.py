"""Compiles JSON Schema to GBNF: what the grammar matches is JSON that validates.

https://json-schema.org/draft/2020-12. Not every value that validates can be written: properties
come in the schema's order, and those that it does not name only where it says so. A keyword that
is not supported is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..errors import GrammarError
from . import schema_numbers, schema_strings
from .expressions import inverted, merged
from .schema_merge import KEYWORDS, Merger, Plain, Schema, type_of, types_of
from .schema_text import (
    FREE_SPACE,
    JSON_RULES,
    NO_SPACE,
    NOTHING,
    bounds,
    char_class,
    choice,
    intersection,
    json_literal,
    literal,
)

_MOST_RULES = 20_000
_DEEPEST = 60


def json_schema_to_gbnf(schema: Schema | str, *, spaces: bool = True) -> str:
    """A grammar, in GBNF, of JSON that validates against a schema.

    Args:
        schema: as a mapping, or as JSON text.
        spaces: whether there may be a space or a new line between parts; without, JSON is compact.

    Raises:
        GrammarError: the schema is wrong, or asks for what is not supported.
    """
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise GrammarError(f"the JSON schema is no JSON: {error}") from error
    try:
        return _Compiler(schema).compile(spaces)
    except RecursionError as error:
        raise GrammarError("the JSON schema has parts too deeply inside of each other") from error


class _Compiler:
    def __init__(self, document: Any) -> None:
        self._document = document
        self._merger = Merger(document)
        self._rules: dict[str, str] = {}
        # rules of what references point to
        self._references: dict[str, str] = {}
        self._pending: list[tuple[str, str]] = []
        self._depth = 0

    def compile(self, spaces: bool) -> str:
        root = self._schema(self._document, "#")
        while self._pending:
            reference, name = self._pending.pop()
            target = self._merger.resolve(reference, reference)
            self._rules[name] = self._schema(target, reference)
        rules = [f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._rules.items())]
        return "\n".join(rules) + JSON_RULES + (FREE_SPACE if spaces else NO_SPACE)

    def _schema(self, schema: object, path: str) -> str:
        """What fits a schema, as one item of GBNF."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise GrammarError(f"{path}: schemas stand too deeply inside of each other")
        parts = self._merger.alternatives(schema, path)
        found = self.rule("any", choice(self._plain(plain, path) for plain in parts))
        self._depth -= 1
        return found

    def _plain(self, plain: Plain, path: str) -> str:
        if not plain:
            return "value"
        if "$ref" in plain:
            return self._reference(plain["$ref"], path)
        if "enum" in plain:
            return choice(json_literal(value) for value in _fitting_values(plain, path))
        return choice(self._of_type(name, plain, path) for name in types_of(plain))

    def _reference(self, reference: str, path: str) -> str:
        if reference not in self._references:
            self._merger.resolve(reference, path)
            name = self._references[reference] = self.rule("ref", NOTHING)
            self._pending.append((reference, name))
        return self._references[reference]

    def _of_type(self, name: str, plain: Plain, path: str) -> str:
        match name:
            case "object":
                return self._object(plain, path)
            case "array":
                return self._array(plain, path)
            case "string":
                return _string(plain, path)
            case "integer" | "number":
                return _number(name, plain, path)
        return name

    def _object(self, plain: Plain, path: str) -> str:
        properties = dict(plain.get("properties", {}))
        extra = plain.get("additionalProperties", not properties and "required" not in plain)
        for name in plain.get("required", []):
            properties.setdefault(name, plain.get("additionalProperties", True))
        limits = {"minProperties", "maxProperties"} & plain.keys()
        if not properties and extra is True and not limits:
            return "object"
        return _Object(self, plain, properties, extra, path).rule()

    def pair(self, name: str, schema: object, path: str) -> str:
        """A property with its name."""
        value = self._schema(schema, f"{path}/properties/{name}")
        return self.rule("pair", f'{json_literal(name)} ":" space {value}')

    def extra_pair(self, names: list[str], schema: object, path: str) -> str:
        """A property with another name than these."""
        value = self._schema(schema, f"{path}/additionalProperties")
        key = self._other_key(names)
        return self.rule("extra", f'"\\"" {key} "\\":" space {value}')

    def _other_key(self, names: list[str]) -> str:
        """The rest of a key that continues none of `names`, letter by letter."""
        rests: dict[str, list[str]] = {}
        for name in names:
            if name:
                rests.setdefault(name[0], []).append(name[1:])
        codes = merged([(ord(char), ord(char)) for char in rests])
        options = [f"{char_class(intersection(inverted(codes), _KEY_CHARS))} {_KEY_REST}"]
        options += [
            f"{literal(char)} {self._other_key(some)}"
            for char, some in rests.items()
            if intersection(((ord(char), ord(char)),), _KEY_CHARS)
        ]
        if "" not in names:
            options.append('""')
        return self.rule("key", " | ".join(options))

    def _array(self, plain: Plain, path: str) -> str:
        least, most = plain.get("minItems", 0), plain.get("maxItems")
        if plain.get("uniqueItems") and (most is None or most > 1):
            raise GrammarError(f"{path}: uniqueItems is not supported")
        prefix = [
            self._schema(schema, f"{path}/prefixItems/{index}")
            for index, schema in enumerate(plain.get("prefixItems", [])[:most])
        ]
        if prefix and "items" not in plain and least <= len(prefix):
            most = len(prefix)
        item = self._schema(plain.get("items", True), f"{path}/items")
        least = max(0, least - len(prefix))
        most = None if most is None else most - len(prefix)
        more = f'("," space {item})'
        parts = ' "," space '.join(prefix)
        if prefix:
            parts += f" {_times(more, least, most)} space"
        elif most is None or most > 0:
            rest = _times(more, max(least - 1, 0), None if most is None else most - 1)
            parts = f"{item} {rest} space"
            parts = parts if least else f"({parts})?"
        elif least:
            return NOTHING
        return self.rule("array", f'"[" space {parts} "]"')

    def rule(self, kind: str, body: str) -> str:
        """A rule of this body; short ones need none."""
        if kind == "any" and " " not in body:
            return body
        if len(self._rules) >= _MOST_RULES:
            raise GrammarError(f"the schema needs more than {_MOST_RULES} rules")
        name = f"{kind}-{len(self._rules)}"
        self._rules[name] = body
        return name


class _Object:
    """An object's properties in their order, any of those that are not required left out."""

    def __init__(
        self,
        compiler: _Compiler,
        plain: Plain,
        properties: dict[str, Any],
        extra: object,
        path: str,
    ) -> None:
        self._compiler = compiler
        self._required = [name in plain.get("required", []) for name in properties]
        self._pairs = [compiler.pair(name, s, path) for name, s in properties.items()]
        self._extra = None
        if extra is not False:
            self._extra = compiler.extra_pair(list(properties), extra, path)
        self._least = plain.get("minProperties", 0)
        self._most = plain.get("maxProperties")
        self._rests: dict[tuple[int, int], str] = {}

    def rule(self) -> str:
        """The object."""
        # from the last property to the first: rules refer to what is there already
        for index in range(len(self._pairs), -1, -1):
            for count in range(index + 1):
                if count == self._counted(count):
                    self._rests[index, count] = self._rest(index, count)
        return self._compiler.rule("object", f'"{{" space {self._rests[0, 0]} "}}"')

    def _counted(self, count: int) -> int:
        """What is written so far, as far as it matters."""
        return count if self._most is not None else min(count, max(self._least, 1))

    def _rest(self, index: int, count: int) -> str:
        """What may stand behind `index` properties of which `count` were written."""
        if self._most is not None and count > self._most:
            return NOTHING
        if index == len(self._pairs):
            return self._compiler.rule("end", self._end(count))
        comma = '"," space ' if count else ""
        behind = self._rests[index + 1, self._counted(count + 1)]
        options = [f"{comma}{self._pairs[index]} {behind}"]
        if not self._required[index]:
            options.append(self._rests[index + 1, count])
        return self._compiler.rule("rest", " | ".join(options))

    def _end(self, count: int) -> str:
        """Properties that the schema does not name. Two of them may have the same name."""
        options = []
        space = "space" if count else '""'
        if count >= self._least:
            options.append(space)
        if self._extra and count + 1 >= self._least and count != self._most:
            most = None if self._most is None else self._most - count - 1
            more = _times(f'("," space {self._extra})', 0, most)
            comma = '"," space ' if count else ""
            options.append(f"{comma}{self._extra} {more} space")
        return " | ".join(options) or NOTHING


# keys without escapes, so that each has one way to be written
_KEY_CHARS = inverted(((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F)))
_KEY_REST = char_class(_KEY_CHARS) + "*"


def _times(item: str, least: int, most: int | None) -> str:
    """An item with its repetitions."""
    if most is not None and most < max(least, 1):
        return '""' if most == 0 and least == 0 else NOTHING
    return item + bounds(least, most)


def _string(plain: Plain, path: str) -> str:
    least, most = plain.get("minLength", 0), plain.get("maxLength")
    limits = [key for key in ("minLength", "maxLength", "pattern", "format") if key in plain]
    if ("pattern" in plain or "format" in plain) and len(limits) > 1:
        raise GrammarError(f"{path}: {' and '.join(limits)} together are not supported")
    if "format" in plain:
        if plain["format"] not in schema_strings.FORMATS:
            raise GrammarError(
                f"{path}: the format {plain['format']!r} is not supported; those that are: "
                f"{', '.join(schema_strings.FORMATS)}"
            )
        return f'("\\"" {schema_strings.FORMATS[plain["format"]]} "\\"")'
    if "pattern" in plain:
        return f'("\\"" {schema_strings.pattern(plain["pattern"])} "\\"")'
    if not limits:
        return "string"
    if most is not None and most < least:
        return NOTHING
    return f'("\\"" {_times("char", least, most)} "\\"")'


def _number(name: str, plain: Plain, path: str) -> str:
    if plain.get("multipleOf", 1) != 1:
        raise GrammarError(f"{path}: multipleOf is not supported")
    low, without_low = _bound(plain, "minimum", "exclusiveMinimum", 1)
    high, without_high = _bound(plain, "maximum", "exclusiveMaximum", -1)
    interval = schema_numbers.Interval(low, high, without_low, without_high)
    if name == "integer" or "multipleOf" in plain:
        return schema_numbers.integers(interval)
    return schema_numbers.numbers(interval)


def _bound(plain: Plain, inclusive: str, exclusive: str, sign: int) -> tuple[Decimal | None, bool]:
    """The narrower one of two bounds, and whether it is excluded."""
    bounds = [
        (sign * Decimal(str(plain[key])), key == exclusive)
        for key in (inclusive, exclusive)
        if key in plain
    ]
    if not bounds:
        return None, False
    value, is_exclusive = max(bounds)
    return sign * value, is_exclusive


def _fitting_values(plain: Plain, path: str) -> list[object]:
    """The values of an enum that fit what else the schema says."""
    for key in plain:
        if key not in ("enum", "type") and key not in _CHECKS:
            raise GrammarError(f"{path}: enum or const beside {key!r} is not supported")
    return [value for value in plain["enum"] if _fits(value, plain)]


def _fits(value: Any, plain: Plain) -> bool:
    found = type_of(value)
    names = [found, "number"] if found == "integer" else [found]
    if not any(name in plain.get("type", names) for name in names):
        return False
    concerned = [key for name in names for key in KEYWORDS.get(name, ()) if key in plain]
    return all(_CHECKS[key](value, plain[key]) for key in concerned)


_CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "minLength": lambda value, least: len(value) >= least,
    "maxLength": lambda value, most: len(value) <= most,
    "minimum": lambda value, low: bool(value >= low),
    "maximum": lambda value, high: bool(value <= high),
    "exclusiveMinimum": lambda value, low: bool(value > low),
    "exclusiveMaximum": lambda value, high: bool(value < high),
}
