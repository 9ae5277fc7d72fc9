"""Schemas without allOf, anyOf, oneOf and $ref: a list of plain alternatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from ..errors import GrammarError

Schema = Mapping[str, Any] | bool
# Keywords only, "type" as a list and "const" as "enum"; or {"$ref": ...}, not resolved.
Plain = dict[str, Any]

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
ANNOTATIONS = frozenset(
    "title description default examples deprecated readOnly writeOnly $schema $id $comment $defs "
    "definitions $anchor".split()
)
# the keywords that concern one type only
KEYWORDS: dict[str, tuple[str, ...]] = {
    "object": (
        *("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    ),
    "array": (*("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"),),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_PLAIN = frozenset(["type", "enum", "const", *(k for ks in KEYWORDS.values() for k in ks)])
_SUPPORTED = _PLAIN | ANNOTATIONS | {"$ref", "allOf", "anyOf", "oneOf"}
_LARGER = frozenset("minimum exclusiveMinimum minLength minItems minProperties".split())
_SMALLER = frozenset("maximum exclusiveMaximum maxLength maxItems maxProperties".split())

_MOST_ALTERNATIVES = 500
_DEEPEST = 40


class Merger:
    """Reads the schemas of one document.

    Args:
        document: what references point into.
    """

    def __init__(self, document: Schema) -> None:
        self._document = document
        self._depth = 0
        self._resolving: set[str] = set()

    def alternatives(self, schema: object, path: str) -> list[Plain]:
        """What the schema is the union of; none if nothing fits it.

        Raises:
            GrammarError: it is wrong, not supported, or refers to itself without end.
        """
        if isinstance(schema, bool):
            return [{}] if schema else []
        if not isinstance(schema, Mapping):
            raise GrammarError(f"{path}: a schema must be an object or a boolean")
        for key in schema:
            if key not in _SUPPORTED and not str(key).startswith("x-"):
                raise GrammarError(f"{path}: the keyword {key!r} is not supported")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise GrammarError(f"{path}: schemas refer to each other too deeply")
        found = [_plain(schema, path)]
        if "$ref" in schema:
            found = self._both(found, [{"$ref": schema["$ref"]}], path)
        for index, part in enumerate(_list(schema, "allOf", path)):
            found = self._both(found, self.alternatives(part, f"{path}/allOf/{index}"), path)
        if "anyOf" in schema:
            branches = self._branches(schema, "anyOf", path)
            found = self._both(found, [plain for branch in branches for plain in branch], path)
        if "oneOf" in schema:
            branches = [
                self._both(found, branch, path) for branch in self._branches(schema, "oneOf", path)
            ]
            self._require_disjoint(branches, path)
            found = [plain for branch in branches for plain in branch]
        self._depth -= 1
        return found

    def resolve(self, reference: object, path: str) -> object:
        """The schema that a reference points to."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise GrammarError(
                f"{path}: the reference {reference!r} is not supported; only those that begin "
                f"with #/ are, which point into the schema itself"
            )
        target: object = self._document
        for part in reference.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
                target = target[int(key)]
            else:
                raise GrammarError(f"{path}: {reference!r} points to nothing")
        return target

    def _branches(self, schema: Mapping[str, Any], key: str, path: str) -> list[list[Plain]]:
        return [
            self.alternatives(branch, f"{path}/{key}/{index}")
            for index, branch in enumerate(_list(schema, key, path))
        ]

    def _both(self, left: list[Plain], right: list[Plain], path: str) -> list[Plain]:
        """What is in one of the left and in one of the right."""
        found: list[Plain] = []
        for a in left:
            for b in right:
                if not a or not b or a == b:
                    found.append(a or b)
                elif "$ref" in a or "$ref" in b:
                    found += self._both(self._resolved(a, path), self._resolved(b, path), path)
                else:
                    merged = merge(a, b, path)
                    found += [] if merged is None else [merged]
                if len(found) > _MOST_ALTERNATIVES:
                    raise GrammarError(f"{path}: more than {_MOST_ALTERNATIVES} alternatives")
        return found

    def _resolved(self, plain: Plain, path: str) -> list[Plain]:
        """A reference as what it points to, further references as well."""
        if "$ref" not in plain:
            return [plain]
        reference = plain["$ref"]
        target = self.resolve(reference, path)
        if reference in self._resolving:
            raise GrammarError(f"{path}: {reference!r} refers to itself without end")
        self._resolving.add(reference)
        found: list[Plain] = []
        for part in self.alternatives(target, reference):
            found += self._resolved(part, path)
            if len(found) > _MOST_ALTERNATIVES:
                raise GrammarError(f"{path}: more than {_MOST_ALTERNATIVES} alternatives")
        self._resolving.discard(reference)
        return found

    def _require_disjoint(self, branches: list[list[Plain]], path: str) -> None:
        resolved = [
            [plain for part in branch for plain in self._resolved(part, path)]
            for branch in branches
        ]
        for i, left in enumerate(resolved):
            for j in range(i):
                if not all(self._disjoint(a, b, path, 0) for a in left for b in resolved[j]):
                    raise GrammarError(
                        f"{path}: a value may fit both oneOf/{j} and oneOf/{i}; use anyOf, or give "
                        f"them a required property with different constants"
                    )

    def _disjoint(self, a: Plain, b: Plain, path: str, depth: int) -> bool:
        """Whether it is certain that no value fits both."""
        if merge_types(types_of(a), types_of(b)) == []:
            return True
        if "enum" in a and "enum" in b:
            return not [value for value in a["enum"] if is_in(value, b["enum"])]
        if depth > 3 or types_of(a) != ["object"] or types_of(b) != ["object"]:
            return False
        for name in set(a.get("required", [])) & set(b.get("required", [])):
            parts = [
                self._resolved_schema(plain.get("properties", {}).get(name, True), path)
                for plain in (a, b)
            ]
            if all(self._disjoint(x, y, path, depth + 1) for x in parts[0] for y in parts[1]):
                return True
        return _lacks(a, b) or _lacks(b, a)

    def _resolved_schema(self, schema: object, path: str) -> list[Plain]:
        return [
            plain
            for part in self.alternatives(schema, path)
            for plain in self._resolved(part, path)
        ]


def merge(a: Plain, b: Plain, path: str) -> Plain | None:
    """What fits both, neither of which is a reference; None if nothing can."""
    result: Plain = {**a, **b}
    for key in a.keys() & b.keys():
        if key == "type":
            result[key] = merge_types(a[key], b[key])
        elif key == "enum":
            result[key] = [value for value in a[key] if is_in(value, b[key])]
        elif key in _LARGER:
            result[key] = max(a[key], b[key])
        elif key in _SMALLER:
            result[key] = min(a[key], b[key])
        elif key == "required":
            result[key] = [*a[key], *(name for name in b[key] if name not in a[key])]
        elif key == "uniqueItems":
            result[key] = a[key] or b[key]
        elif key not in ("properties", "additionalProperties") and a[key] != b[key]:
            _merge_items(result, a, b, key, path)
    if ("prefixItems" in a and "items" in b) or ("prefixItems" in b and "items" in a):
        raise GrammarError(f"{path}: schemas with items and with prefixItems cannot be merged")
    _merge_properties(result, a, b)
    return None if result.get("type") == [] or result.get("enum") == [] else result


def merge_types(a: list[str], b: list[str]) -> list[str]:
    """The types that are of both lists; an integer is a number."""
    both = [t for t in a if t in b or (t == "integer" and "number" in b)]
    return both + [t for t in b if t == "integer" and "number" in a and t not in both]


def types_of(plain: Plain) -> list[str]:
    """The types that a plain schema allows; without `type`, those that its keywords concern."""
    if "type" in plain:
        return list(plain["type"])
    if "enum" in plain:
        return sorted({type_of(value) for value in plain["enum"]})
    concerned = [t for t, keys in KEYWORDS.items() if any(key in plain for key in keys)]
    return concerned or [t for t in TYPES if t != "integer"]


def type_of(value: object) -> str:
    """The narrowest type of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float, Decimal)):
        return "integer" if value == value // 1 else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def is_in(value: object, values: Iterable[object]) -> bool:
    """Whether a JSON value is among others; true is not 1."""
    return any(_key(value) == _key(other) for other in values)


def _key(value: object) -> object:
    if isinstance(value, Mapping):
        return ("object", frozenset((name, _key(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(_key, value)))
    return (isinstance(value, bool), value)


def _plain(schema: Mapping[str, Any], path: str) -> Plain:
    """The schema's own plain keywords, checked."""
    plain = {key: schema[key] for key in schema if key in _PLAIN}
    if "type" in plain:
        types = plain["type"] if isinstance(plain["type"], list) else [plain["type"]]
        for name in types:
            if name not in TYPES:
                raise GrammarError(f"{path}: there is no type {name!r}")
        plain["type"] = types
    if "const" in plain:
        value = plain.pop("const")
        values = plain.get("enum", [value])
        plain["enum"] = [value] if isinstance(values, list) and is_in(value, values) else []
    if isinstance(plain.get("items"), list):
        # as it was called before 2020
        plain["prefixItems"] = plain.pop("items")
        if "additionalItems" in plain:
            plain["items"] = plain["additionalItems"]
    plain.pop("additionalItems", None)
    for key, value in plain.items():
        if not _is_well_formed(key, value):
            raise GrammarError(f"{path}: {value!r} is no value of {key!r}")
    return plain


def _is_well_formed(key: str, value: object) -> bool:
    if key in ("enum", "prefixItems"):
        return isinstance(value, list)
    if key == "required":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if key == "properties":
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    if key in ("items", "additionalProperties"):
        return isinstance(value, (Mapping, bool))
    if key in ("pattern", "format"):
        return isinstance(value, str)
    if key == "uniqueItems":
        return isinstance(value, bool)
    if key in KEYWORDS["number"]:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and Decimal(str(value)).is_finite()
    if key != "type":  # lengths
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return True


def _list(schema: Mapping[str, Any], key: str, path: str) -> list[object]:
    parts = schema.get(key, [])
    if key in schema and (not isinstance(parts, list) or not parts):
        raise GrammarError(f"{path}: {key} must be a list of schemas")
    return list(parts)


def _merge_items(result: Plain, a: Plain, b: Plain, key: str, path: str) -> None:
    if key == "items" and "prefixItems" not in a and "prefixItems" not in b:
        result[key] = {"allOf": [a[key], b[key]]}
    else:
        raise GrammarError(f"{path}: two different values of {key!r} cannot be merged")


def _merge_properties(result: Plain, a: Plain, b: Plain) -> None:
    """Properties of one that the other does not name are what that allows beyond its own."""
    if "properties" in result:
        names = dict.fromkeys([*a.get("properties", {}), *b.get("properties", {})])
        result["properties"] = {
            name: _all_of([_property(plain, name) for plain in (a, b)]) for name in names
        }
    extra = [p["additionalProperties"] for p in (a, b) if "additionalProperties" in p]
    if extra:
        result["additionalProperties"] = _all_of(extra)


def _property(plain: Plain, name: str) -> Any:
    properties = plain.get("properties", {})
    return properties[name] if name in properties else plain.get("additionalProperties", True)


def _all_of(schemas: list[Any]) -> Any:
    if False in [s for s in schemas if isinstance(s, bool)]:
        return False
    rest = [schema for schema in schemas if schema is not True]
    return {"allOf": rest} if len(rest) > 1 else rest[0] if rest else True


def _lacks(a: Plain, b: Plain) -> bool:
    """Whether `a` forbids a property that `b` requires."""
    if a.get("additionalProperties") is not False:
        return False
    return any(name not in a.get("properties", {}) for name in b.get("required", []))
