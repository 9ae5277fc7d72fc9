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


class Document:
    """A schema with all that is inside of it, each by a number.

    Args:
        root: the whole document.
    """

    def __init__(self, root: object) -> None:
        self._root = root
        self._schemas: list[Mapping[str, Any]] = [{}]
        self._paths = [""]
        self._bases = [""]
        self._numbers: dict[int, int] = {}
        # the base address of each object, by its identity, and what addresses and anchors point to
        self._base_of: dict[int, str] = {}
        self._resources: dict[str, object] = {"": root}
        self._anchors: dict[tuple[str, str], object] = {}
        # by base address and name; a $recursiveAnchor has the name True
        self._dynamic: dict[tuple[str, object], object] = {}
        draft = str(root.get("$schema", "")) if isinstance(root, Mapping) else ""
        self._is_draft_4 = "draft-04" in draft
        # until draft 7, nothing that is beside a $ref counts
        self._is_old = "json-schema.org/draft-0" in draft
        self._index()

    def root(self) -> Condition:
        """Return the condition that the whole document is."""
        return self.condition(self._root, "#", "")

    def condition(self, schema: object, path: str, base: str, *, holds: bool = True) -> Condition:
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
        number = self._numbers.get(id(schema))
        if number is None:
            number = self._numbers[id(schema)] = len(self._schemas)
            if number > MAX_SCHEMAS:
                raise GrammarError(f"more than {MAX_SCHEMAS} schemas")
            self._schemas.append(schema)
            self._paths.append(path)
            self._bases.append(self._base_of.get(id(schema), base))
        return frozenset((number if holds else -number,))

    def schema(self, number: int) -> Mapping[str, Any]:
        """Return a schema by its number."""
        return self._schemas[number]

    def path(self, number: int) -> str:
        """Return where a schema is in the document."""
        return self._paths[number]

    def inner(self, number: int, schema: object, place: str, *, holds: bool = True) -> Condition:
        """Return the condition that a schema inside of another one holds, or does not."""
        return self.condition(
            schema, f"{self._paths[number]}/{place}", self._bases[number], holds=holds
        )

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
        fragment = urldefrag(reference)[1]
        is_name = fragment != "" and not fragment.startswith("/")
        by_name = keyword == "$recursiveRef" or is_name
        if anchor and by_name and isinstance(schema, Mapping) and schema.get(anchor):
            name = schema[anchor]
            # the outermost schema with such an anchor counts, and the root is the outermost of all
            for_all = self._dynamic.get((self._base_of.get(id(self._root), ""), name))
            if for_all is None and sum(key[1] == name for key in self._dynamic) > 1:
                raise GrammarError(f"{path}: a {keyword} with several targets is not supported")
            schema = schema if for_all is None else for_all
        return self.condition(schema, reference, base, holds=holds)

    def _resolve(self, reference: str, base: str, path: str) -> tuple[object, str]:
        address, fragment = urldefrag(_joined(base, reference))
        target = self._resources.get(address)
        if address not in self._resources:
            raise GrammarError(
                f"{path}: the reference {reference!r} is not supported: it points out of the schema"
            )
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

    def _index(self) -> None:
        """Find all ids and anchors."""
        work: list[tuple[object, str]] = [(self._root, "")]
        n_seen = 0
        while work:
            schema, base = work.pop()
            if not isinstance(schema, Mapping) or id(schema) in self._base_of:
                continue
            n_seen += 1
            if n_seen > MAX_SCHEMAS:
                raise GrammarError(f"more than {MAX_SCHEMAS} schemas")
            base = self._enter(schema, base)
            self._base_of[id(schema)] = base
            work += [(inner, base) for inner in _inner_schemas(schema)]

    def _enter(self, schema: Mapping[str, Any], base: str) -> str:
        """Note a schema's id and anchors; return the base address of what is inside of it."""
        name = schema.get("id" if self._is_draft_4 else "$id")
        if isinstance(name, str) and not (self._is_old and "$ref" in schema):
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
                    self._dynamic[base, name] = schema
        if schema.get("$recursiveAnchor") is True:
            self._dynamic[base, True] = schema
        return base


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
