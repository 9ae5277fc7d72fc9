"""Schemas of one document: where references, ids and anchors point, in drafts 4 to 2020-12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from ...errors import GrammarError

Schema = Mapping[str, Any] | bool

# What must hold of a value: schemas by number, and those that must not hold by negative number.
# No schema is that everything holds, None that nothing does.
Condition = frozenset[int] | None
ALWAYS: Condition = frozenset()
NEVER: Condition = None

MAX_SCHEMAS = 500_000

# where schemas are inside of schemas: one, a list of them, a mapping with them as values
_ONE = (
    *("not", "if", "then", "else", "additionalProperties", "additionalItems", "contains"),
    *("propertyNames", "items", "unevaluatedItems", "unevaluatedProperties"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPPINGS = (
    *("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"),
    "dependencies",
)
# what asserts something; all other keywords say nothing about a value
ASSERTIONS = frozenset(
    (
        "type enum const $ref $dynamicRef $recursiveRef allOf anyOf oneOf not if "
        "properties patternProperties additionalProperties required minProperties maxProperties "
        "propertyNames dependencies dependentRequired dependentSchemas unevaluatedProperties "
        "items prefixItems additionalItems minItems maxItems uniqueItems contains unevaluatedItems "
        "minLength maxLength pattern format "
        "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"
    ).split()
)


# The outermost schemas with dynamic anchors on the way to a schema: name and schema of each.
# A $recursiveAnchor has the name True.
Scope = tuple[tuple[object, int], ...]


class Document:
    """A schema with all that is inside of it, each by a number.

    A schema has a number for each scope that it is in, as $dynamicRef means something else there.

    Args:
        root: the whole document.
        others: other documents by address, to which references may point.
    """

    def __init__(self, root: object, others: Mapping[str, object] | None = None) -> None:
        self._root = root
        self._others = others or {}
        self._schemas: list[Mapping[str, Any]] = [{}]
        self._paths = [""]
        self._bases = [""]
        self._scopes: list[Scope] = [()]
        self._numbers: dict[tuple[int, Scope], int] = {}
        # the base address of each object, by its identity, and what addresses and anchors point to
        self._base_of: dict[int, str] = {}
        self._resources: dict[str, object] = {"": root}
        self._anchors: dict[tuple[str, str], object] = {}
        # the schemas with dynamic anchors by base address and name, and all of them by identity
        self._dynamic: dict[str, dict[object, int]] = {}
        self._with_anchors: dict[int, Mapping[str, Any]] = {}
        self._n_seen = 0
        self._draft = _draft_of(root, "")
        self._index(root, "")

    def root(self) -> Condition:
        """Return the condition that the whole document is."""
        return self.condition(self._root, "#", "")

    def condition(
        self, schema: object, path: str, base: str, scope: Scope = (), *, holds: bool = True
    ) -> Condition:
        """Return the condition that a schema holds, or does not.

        Raises:
            GrammarError: it is no schema.
        """
        if isinstance(schema, bool):
            return ALWAYS if schema == holds else NEVER
        if not isinstance(schema, Mapping):
            raise GrammarError(f"{path}: a schema must be an object or a boolean")
        if not ASSERTIONS & schema.keys():
            return ALWAYS if holds else NEVER
        base = self._base_of.get(id(schema), base)
        scope = self._within(scope, base)
        number = self._numbers.get((id(schema), scope))
        if number is None:
            number = self._numbers[id(schema), scope] = len(self._schemas)
            if number > MAX_SCHEMAS:
                raise GrammarError(f"more than {MAX_SCHEMAS} schemas")
            self._schemas.append(schema)
            self._paths.append(path)
            self._bases.append(base)
            self._scopes.append(scope)
        return frozenset((number if holds else -number,))

    def schema(self, number: int) -> Mapping[str, Any]:
        """Return a schema by its number."""
        return self._schemas[number]

    def path(self, number: int) -> str:
        """Return where a schema is in the document."""
        return self._paths[number]

    def inner(self, number: int, schema: object, place: str, *, holds: bool = True) -> Condition:
        """Return the condition that a schema inside of another one holds, or does not."""
        path, base = f"{self._paths[number]}/{place}", self._bases[number]
        return self.condition(schema, path, base, self._scopes[number], holds=holds)

    def target(self, number: int, keyword: str, *, holds: bool = True) -> Condition:
        """Return the condition that what a schema refers to holds, or does not.

        Args:
            keyword: "$ref" or one of its relatives.

        Raises:
            GrammarError: it points to nothing, or out of the document.
        """
        reference, path = self._schemas[number][keyword], self._paths[number]
        if not isinstance(reference, str):
            raise GrammarError(f"{path}: {reference!r} is no value of {keyword!r}")
        schema, base = self._resolve(reference, self._bases[number], path)
        anchor = {"$dynamicRef": "$dynamicAnchor", "$recursiveRef": "$recursiveAnchor"}.get(keyword)
        name = True if keyword == "$recursiveRef" else unquote(urldefrag(reference)[1])
        scope = self._scopes[number]
        if anchor and isinstance(schema, Mapping) and schema.get(anchor) == name:
            outermost = dict(scope).get(name)
            schema = schema if outermost is None else self._with_anchors[outermost]
        return self.condition(schema, reference, base, scope, holds=holds)

    def _within(self, scope: Scope, base: str) -> Scope:
        """The scope inside of the schemas with a base address."""
        found = self._dynamic.get(base)
        if not found:
            return scope
        # the outermost schema with an anchor's name counts
        return tuple(sorted({**found, **dict(scope)}.items(), key=str))

    def _resolve(self, reference: str, base: str, path: str) -> tuple[object, str]:
        address, fragment = urldefrag(_joined(base, reference))
        if address not in self._resources and address in self._others:
            self._resources[address] = self._others[address]
            self._index(self._others[address], address)
        if address not in self._resources:
            raise GrammarError(
                f"{path}: the reference {reference!r} is not supported: it points out of the "
                f"schema, and no document {address!r} is given"
            )
        target = self._resources[address]
        base = address
        if fragment and not fragment.startswith("/"):
            key = (address, unquote(fragment))
            if key not in self._anchors:
                raise GrammarError(f"{path}: {reference!r} points to nothing")
            return self._anchors[key], base
        for part in fragment.split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                raise GrammarError(f"{path}: {reference!r} points to nothing")
            base = self._base_of.get(id(target), base)
        return target, base

    def _index(self, root: object, base: str) -> None:
        """Find all ids and anchors of a document."""
        draft = _draft_of(root, self._draft)
        work: list[tuple[object, str]] = [(root, base)]
        while work:
            schema, base = work.pop()
            if not isinstance(schema, Mapping) or id(schema) in self._base_of:
                continue
            self._n_seen += 1
            if self._n_seen > MAX_SCHEMAS:
                raise GrammarError(f"more than {MAX_SCHEMAS} schemas")
            base = self._enter(schema, base, draft)
            self._base_of[id(schema)] = base
            work += [(inner, base) for inner in _inner_schemas(schema)]

    def _enter(self, schema: Mapping[str, Any], base: str, draft: str) -> str:
        """Note a schema's id and anchors; return the base address of what is inside of it."""
        name = schema.get("id" if "draft-04" in draft else "$id")
        # until draft 7, nothing that is beside a $ref counts
        is_old = "json-schema.org/draft-0" in draft
        if isinstance(name, str) and not (is_old and "$ref" in schema):
            address, fragment = urldefrag(_joined(base, name))
            if fragment:
                self._anchors.setdefault((address, fragment), schema)
            else:
                base = address
                self._resources.setdefault(base, schema)
        for keyword in ("$anchor", "$dynamicAnchor"):
            name = schema.get(keyword)
            if isinstance(name, str):
                self._anchors.setdefault((base, name), schema)
                if keyword == "$dynamicAnchor":
                    self._note_dynamic(base, name, schema)
        if schema.get("$recursiveAnchor") is True:
            self._note_dynamic(base, True, schema)
        return base

    def _note_dynamic(self, base: str, name: object, schema: Mapping[str, Any]) -> None:
        self._dynamic.setdefault(base, {})[name] = id(schema)
        self._with_anchors[id(schema)] = schema


def _draft_of(root: object, otherwise: str) -> str:
    return str(root.get("$schema", otherwise)) if isinstance(root, Mapping) else otherwise


def _inner_schemas(schema: Mapping[str, Any]) -> Iterator[object]:
    for key in _ONE:
        if isinstance(schema.get(key), Mapping):
            yield schema[key]
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            yield from schema[key]
    for key in _MAPPINGS:
        if isinstance(schema.get(key), Mapping):
            yield from schema[key].values()


def _joined(base: str, reference: str) -> str:
    if reference.startswith("#"):
        return urldefrag(base)[0] + reference
    try:
        return urljoin(base, reference)
    except ValueError as error:
        raise GrammarError(f"{reference!r} is no reference: {error}") from error


def all_hold(*conditions: Condition) -> Condition:
    """Return the condition that all hold."""
    found: frozenset[int] = frozenset()
    for condition in conditions:
        if condition is None:
            return NEVER
        found |= condition
    return NEVER if any(-number in found for number in found) else found
