"""A schema's own keywords: what each says of values of its type, and what its opposite says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

from ...errors import GrammarError
from .arrays import Array
from .documents import ALWAYS, NEVER, Condition, Document
from .numbers import Bound, Interval, decimal_of
from .objects import Group, Object, without
from .strings import Text
from .values import TYPES, equality_key, json_text, type_of

# A type, and what its values must be, or their only values as JSON. A list of them is their union.
Part = tuple[str, Interval | Text | Array | Object | tuple[str, ...]]

EVERYTHING: dict[str, Part] = {
    "null": ("null", ("null",)),
    "boolean": ("boolean", ("true", "false")),
    "number": ("number", Interval()),
    "string": ("string", Text()),
    "array": ("array", Array()),
    "object": ("object", Object()),
}
_FLAGS = {True: "true", False: "false"}
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class Keywords:
    """Reads the keywords of one schema.

    Args:
        document: that it is of.
        number: the schema's.
    """

    def __init__(self, document: Document, number: int) -> None:
        self._document = document
        self.number = number
        self.schema = document.schema(number)
        self.path = document.path(number)

    def references(self) -> list[str]:
        """Return the keywords that refer to another schema."""
        return [key for key in _REFERENCES if key in self.schema]

    def inner(self, key: str, *, holds: bool = True) -> Condition:
        """Return the condition that the schema of a keyword holds, or does not."""
        return self._document.inner(self.number, self.schema[key], key, holds=holds)

    def unions(self) -> list[list[Part]]:
        """Return unions that all must hold: of types, of values, and of what types must be."""
        found = [types] if (types := self._types()) is not None else []
        if (values := self._values()) is not None:
            found.append(_listed(values, self.path))
        rests: dict[str, Interval | Text | Array | Object] = {
            "number": self._number(),
            "string": self._string(),
            "array": self._array(),
            "object": self._object(),
        }
        everything: list[Part] = [EVERYTHING["null"], EVERYTHING["boolean"], *rests.items()]
        return [*found, everything]

    def complements(self) -> Iterator[list[Part]]:
        """Yield what each keyword forbids; a value that any of them forbids does not fit."""
        if (types := self._types()) is not None:
            yield _without_types(types)
        yield [("number", rest) for rest in self._number_complements()]
        yield [("string", rest) for rest in self._string_complements()]
        yield [("array", rest) for rest in self._array_complements()]
        yield [("object", rest) for rest in self._object_complements()]

    def value_complements(self) -> list[list[Part]]:
        """Return unions that all must hold for a value not to be of `enum` or `const`; or none."""
        values = self._values()
        if values is None:
            return []
        scalars: list[Part] = [
            ("null", () if None in values else ("null",)),
            (
                "boolean",
                tuple(t for t, v in (("true", True), ("false", False)) if not _has(values, v)),
            ),
            EVERYTHING["array"],
            EVERYTHING["object"],
        ]
        texts = frozenset(value for value in values if isinstance(value, str))
        scalars.append(("string", Text(excluded=texts)))
        numbers = sorted({decimal_of(v) for v in values if type_of(v) == "number"})
        ends = [None, *(Bound(number, True) for number in numbers), None]
        scalars += [("number", Interval(low, high)) for low, high in pairwise(ends)]
        return [
            scalars,
            *(self._not_this(value) for value in values if isinstance(value, (list, dict))),
        ]

    def dependencies(self) -> Iterator[tuple[str, tuple[str, ...], object]]:
        """Yield names of properties, and what each brings with it: other names, or a schema."""
        for key in ("dependencies", "dependentRequired", "dependentSchemas"):
            for name, needed in self._mapping(key).items():
                if isinstance(needed, list) and key != "dependentSchemas":
                    if not all(isinstance(other, str) for other in needed):
                        raise self._wrong(key)
                    yield name, tuple(needed), True
                elif isinstance(needed, str) and key == "dependencies":
                    yield name, (needed,), True
                elif key != "dependentRequired":
                    yield name, (), needed
                else:
                    raise self._wrong(key)

    def _types(self) -> list[Part] | None:
        if "type" not in self.schema:
            return None
        names = self.schema["type"]
        names = names if isinstance(names, list) else [names]
        found: dict[str, Part] = {}
        for name in names:
            if name == "integer":
                found.setdefault("number", ("number", Interval(integer=True)))
            elif isinstance(name, str) and name in TYPES:
                found[name] = EVERYTHING[name]
            else:
                raise GrammarError(f"{self.path}: there is no type {name!r}")
        return list(found.values())

    def _values(self) -> list[Any] | None:
        """The only values, if `enum` or `const` lists them."""
        values: list[Any] | None = None
        if "enum" in self.schema:
            values = self.schema["enum"]
            if not isinstance(values, list):
                raise self._wrong("enum")
        if "const" in self.schema:
            # beside an enum, the union of both is cut down by what is in both
            const = self.schema["const"]
            if values is None or any(_equal(const, value, self.path) for value in values):
                return [const]
            return []
        return values

    def _not_this(self, value: Any) -> list[Part]:
        """What an array or object is not, if it is not a value."""
        parts = [part for name, part in EVERYTHING.items() if name != type_of(value)]
        n = len(value)
        if isinstance(value, list):
            found = [Array(most=n - 1)] if n else []
            found.append(Array(least=n + 1))
            for index, item in enumerate(value):
                others = (*(ALWAYS for _ in range(index)), self._not_equal(item))
                found.append(Array(prefix=others, least=index + 1))
            return [*parts, *(("array", array) for array in found)]
        objects = [Object(least=n + 1)]
        for name, item in value.items():
            objects.append(without(name))
            group = Group({name: self._not_equal(item)})
            objects.append(Object((group,), required=(name,)))
        return [*parts, *(("object", rest) for rest in objects)]

    def _not_equal(self, value: Any) -> Condition:
        return self._document.inner(self.number, {"const": value}, "const", holds=False)

    def _number(self) -> Interval:
        low, high = (
            self._bound("minimum", "exclusiveMinimum"),
            self._bound("maximum", "exclusiveMaximum"),
        )
        unit = self._unit()
        if unit is None:
            return Interval(low, high)
        if unit == 1:
            return Interval(low, high, integer=True)
        return Interval(low, high, multiples=frozenset((unit,)))

    def _number_complements(self) -> Iterator[Interval]:
        number = self._number()
        if number.low:
            yield Interval(high=Bound(number.low.value, not number.low.excluded))
        if number.high:
            yield Interval(low=Bound(number.high.value, not number.high.excluded))
        if number.integer:
            yield Interval(integer=False)
        if number.multiples:
            yield Interval(others=number.multiples)

    def _bound(self, inclusive: str, exclusive: str) -> Bound | None:
        """The narrower of two bounds; in draft 4 one only says whether the other is excluded."""
        is_excluded = self.schema.get(exclusive)
        bounds = []
        for key in (inclusive, exclusive):
            if key not in self.schema or isinstance(self.schema[key], bool):
                continue
            value = self.schema[key]
            if not isinstance(value, (int, float)) or not Decimal(str(value)).is_finite():
                raise self._wrong(key)
            bounds.append(Bound(decimal_of(value), key == exclusive or is_excluded is True))
        narrower = max if inclusive == "minimum" else min
        if len(bounds) == 2 and bounds[0].value == bounds[1].value:
            return bounds[1]
        return narrower(bounds, default=None)

    def _unit(self) -> Decimal | None:
        if "multipleOf" not in self.schema:
            return None
        value = self.schema["multipleOf"]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not Decimal(str(value)).is_finite() or value <= 0:
            raise self._wrong("multipleOf")
        return Decimal(str(value)).normalize()

    def _string(self) -> Text:
        return Text(
            self._count("minLength") or 0,
            self._count("maxLength"),
            frozenset(self._text("pattern")),
            formats=frozenset(self._text("format")),
        )

    def _string_complements(self) -> Iterator[Text]:
        text = self._string()
        if text.least:
            yield Text(most=text.least - 1)
        if text.most is not None:
            yield Text(least=text.most + 1)
        if text.patterns:
            yield Text(other_patterns=text.patterns)
        if text.formats:
            yield Text(other_formats=text.formats)

    def _array(self) -> Array:
        prefix, rest, has_rest = self._items()
        contains: tuple[tuple[Condition, int, int | None], ...] = ()
        if "contains" in self.schema:
            least = self._count("minContains")
            least = 1 if least is None else least
            most = self._count("maxContains")
            if least or most is not None:
                contains = ((self.inner("contains"), least, most),)
        return Array(
            prefix,
            rest,
            has_rest,
            self._count("minItems") or 0,
            self._count("maxItems"),
            self._flag("uniqueItems"),
            contains,
            len(prefix),
        )

    def _items(self) -> tuple[tuple[Condition, ...], Condition, bool]:
        """The conditions of the first items, that of all others, and whether it was given."""
        schema, inner = self.schema, self._document.inner
        first, key = schema.get("prefixItems", []), "items"
        place = "prefixItems"
        if isinstance(schema.get("items"), list):
            # as it was called before 2020-12
            first, place, key = schema["items"], "items", "additionalItems"
        if not isinstance(first, list):
            raise self._wrong("prefixItems")
        prefix = tuple(inner(self.number, s, f"{place}/{n}") for n, s in enumerate(first))
        has_rest = key in schema
        return prefix, self.inner(key) if has_rest else ALWAYS, has_rest

    def _array_complements(self) -> Iterator[Array]:
        array = self._array()
        if array.least:
            yield Array(most=array.least - 1)
        if array.most is not None:
            yield Array(least=array.most + 1)
        if array.unique:
            raise GrammarError(f"{self.path}: that uniqueItems is forbidden is not supported")
        schema, number, inner = self.schema, self.number, self._document.inner
        for index, _ in enumerate(array.prefix):
            place = "prefixItems" if "prefixItems" in schema else "items"
            other = inner(number, schema[place][index], f"{place}/{index}", holds=False)
            yield Array((*(ALWAYS for _ in range(index)), other), least=index + 1)
        if array.has_rest and array.rest != ALWAYS:
            key = "additionalItems" if isinstance(schema.get("items"), list) else "items"
            if array.prefix and array.rest is not NEVER:
                raise GrammarError(f"{self.path}: that {key} is forbidden is not supported")
            if array.rest is NEVER:
                yield Array(least=len(array.prefix) + 1)
            else:
                yield Array(contains=((self.inner(key, holds=False), 1, None),))
        for condition, least, most in array.contains:
            if least:
                yield Array(contains=((condition, 0, least - 1),))
            if most is not None:
                yield Array(contains=((condition, most + 1, None),))
        if "unevaluatedItems" in schema and self.inner("unevaluatedItems") != ALWAYS:
            raise GrammarError(f"{self.path}: that unevaluatedItems is forbidden is not supported")

    def _object(self) -> Object:
        names: list[str] = self._names("required")
        properties: dict[str, Condition] = {}
        for name, schema in self._mapping("properties").items():
            place = f"properties/{name}"
            properties[name] = self._document.inner(self.number, schema, place)
            # as draft 3 has it
            if isinstance(schema, Mapping) and schema.get("required") is True:
                names.append(name)
        patterns = {
            pattern: self._document.inner(self.number, schema, f"patternProperties/{pattern}")
            for pattern, schema in self._mapping("patternProperties").items()
        }
        has_rest = "additionalProperties" in self.schema
        rest = self.inner("additionalProperties") if has_rest else ALWAYS
        groups: tuple[Group, ...] = ()
        if properties or patterns or has_rest:
            groups = (Group(properties, patterns, rest, has_rest),)
        return Object(
            groups,
            tuple(dict.fromkeys(names)),
            self._count("minProperties") or 0,
            self._count("maxProperties"),
            (self.inner("propertyNames"),) if "propertyNames" in self.schema else (),
        )

    def _object_complements(self) -> Iterator[Object]:
        rest = self._object()
        if rest.least:
            yield Object(most=rest.least - 1)
        if rest.most is not None:
            yield Object(least=rest.most + 1)
        for name in rest.required:
            yield without(name)
        for name, schema in self._mapping("properties").items():
            other = self._document.inner(self.number, schema, f"properties/{name}", holds=False)
            if other is not NEVER:
                yield Object((Group({name: other}, evaluates=False),), required=(name,))
        patterns = self._mapping("patternProperties")
        for pattern, schema in patterns.items():
            other = self._document.inner(
                self.number, schema, f"patternProperties/{pattern}", holds=False
            )
            if other is not NEVER:
                yield Object(exists=((pattern, other),))
        for group in rest.groups:
            if group.has_rest and group.rest != ALWAYS:
                if group.properties or group.patterns:
                    raise self._cannot_be_forbidden("additionalProperties")
                yield Object(exists=(("", self.inner("additionalProperties", holds=False)),))
        for key in ("propertyNames", "unevaluatedProperties"):
            if key in self.schema and self.inner(key) != ALWAYS:
                raise self._cannot_be_forbidden(key)

    def _cannot_be_forbidden(self, key: str) -> GrammarError:
        return GrammarError(f"{self.path}: that {key} does not hold cannot be written")

    def _count(self, key: str) -> int | None:
        value = self.schema.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if key in self.schema and (
            not isinstance(value, int) or isinstance(value, bool) or value < 0
        ):
            raise self._wrong(key)
        return value

    def _text(self, key: str) -> list[str]:
        if not isinstance(self.schema.get(key, ""), str):
            raise self._wrong(key)
        return [self.schema[key]] if key in self.schema else []

    def _flag(self, key: str) -> bool:
        value = self.schema.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key)
        return value

    def _names(self, key: str) -> list[str]:
        value = self.schema.get(key, [])
        if isinstance(value, bool):
            return []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self._wrong(key)
        return list(value)

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self.schema.get(key, {})
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise self._wrong(key)
        return value

    def _wrong(self, key: str) -> GrammarError:
        return GrammarError(f"{self.path}: {self.schema[key]!r:.100} is no value of {key!r}")


def _listed(values: list[Any], path: str) -> list[Part]:
    found: dict[str, list[str]] = {}
    for value in values:
        found.setdefault(type_of(value), []).append(json_text(value, path))
    return [(name, tuple(dict.fromkeys(texts))) for name, texts in found.items()]


def _equal(a: Any, b: Any, path: str) -> bool:
    return equality_key(json_text(a, path)) == equality_key(json_text(b, path))


def _has(values: list[Any], flag: bool) -> bool:
    return any(value is flag for value in values)


def _without_types(types: list[Part]) -> list[Part]:
    found = [part for name, part in EVERYTHING.items() if name not in dict(types)]
    if ("number", Interval(integer=True)) in types:
        found.append(("number", Interval(integer=False)))
    return found
