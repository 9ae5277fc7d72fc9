"""What a schema allows, as a list of alternatives that each say everything of one type of value.

Such an alternative, a cell, knows numbers, strings, arrays or objects by what they must be, or
lists its values. Of what is inside of arrays and objects it only says which schemas must hold. All
that combines schemas (allOf, anyOf, oneOf, not, if, $ref, ...) becomes intersections of cells.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from ...errors import GrammarError
from . import arrays, numbers, objects, strings
from .arrays import Array
from .documents import ASSERTIONS, Condition, Document, all_hold
from .keywords import Keywords, Part
from .numbers import Interval
from .objects import Object
from .overlaps import overlapping
from .strings import Text
from .values import equality_key, type_of

MAX_CELLS = 2000
_MAX_DEPTH = 4


class Cell(NamedTuple):
    """Values of one type.

    Attributes:
        rest: what they must be, an Interval, a Text, an Array or an Object; None for other types.
        values: the only ones, as JSON, or None.
    """

    type: str
    rest: Interval | Text | Array | Object | None
    values: tuple[str, ...] | None = None


EVERYTHING = (
    Cell("null", None, ("null",)),
    Cell("boolean", None, ("true", "false")),
    Cell("number", Interval()),
    Cell("string", Text()),
    Cell("array", Array()),
    Cell("object", Object()),
)


class Cells:
    """Finds the cells of conditions.

    Args:
        document: whose schemas conditions are about.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self._known: dict[Condition, list[Cell]] = {}
        self._open: set[Condition] = set()
        self._empty: dict[Condition, bool] = {}

    def of(self, condition: Condition) -> list[Cell]:
        """Return what fits a condition; nothing does if there are none.

        Raises:
            GrammarError: a schema is wrong, asks for what is not supported, or needs itself.
        """
        if condition is None:
            return []
        if condition not in self._known:
            if condition in self._open:
                path = self.path(condition)
                raise GrammarError(f"{path}: a schema refers to itself without end")
            self._open.add(condition)
            found = list(EVERYTHING)
            # what allows little first, so that products stay small
            parts = [self._of_one(number) for number in sorted(condition, key=abs)]
            for part in sorted(parts, key=len):
                found = self.both(found, part, self.path(condition))
            self._open.discard(condition)
            self._known[condition] = found
        return self._known[condition]

    def path(self, condition: Condition) -> str:
        """Return where the first schema of a condition is in the document."""
        return self.document.path(min(map(abs, condition))) if condition else "#"

    def both(self, left: list[Cell], right: list[Cell], path: str) -> list[Cell]:
        """Return what is in one of the left and in one of the right."""
        found: list[Cell] = []
        for a in left:
            for b in right:
                if a.type == b.type and (cell := self._both(a, b)) is not None:
                    found.append(cell)
            if len(found) > MAX_CELLS:
                raise GrammarError(f"{path}: more than {MAX_CELLS} alternatives")
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def fits(self, value: object, condition: Condition) -> bool:
        """Return whether it is certain that a value fits a condition."""
        name = type_of(value)
        return any(cell.type == name and self._fits(value, cell) for cell in self.of(condition))

    def is_empty(self, condition: Condition, depth: int = 0) -> bool:
        """Return whether it is certain that nothing fits a condition."""
        if condition is None or depth > _MAX_DEPTH:
            return condition is None
        if condition not in self._empty:
            self._empty[condition] = False  # while it is not known
            try:
                cells = self.of(condition)
                found = all(self._is_empty(cell, depth) for cell in cells)
            except GrammarError:
                del self._empty[condition]
                return False
            self._empty[condition] = found
        return self._empty[condition]

    def disjoint(self, a: Condition, b: Condition) -> bool:
        """Return whether it is certain that no value fits both conditions."""
        return self.is_empty(all_hold(a, b))

    def branches(self, condition: Condition) -> list[Condition] | None:
        """Return the conditions that a condition is the union of; None if it is anything else."""
        if condition is None or len(condition) != 1:
            return None
        (number,) = condition
        words = ASSERTIONS & self.document.schema(abs(number)).keys()
        if number > 0 and words == {"anyOf"}:
            return self._all(number, "anyOf")
        return self._exactly_one(number) if number > 0 and words == {"oneOf"} else None

    def _of_one(self, number: int) -> list[Cell]:
        """The cells of a schema that holds, or that does not if its number is negative."""
        words = Keywords(self.document, abs(number))
        if number < 0:
            return self._of_negative(words)
        cells = list(EVERYTHING)
        for union in words.unions():
            cells = self.both(cells, _cells(union), words.path)
        for condition in self._conditions(words):
            cells = self.both(cells, self.of(condition), words.path)
        if "not" in words.schema:
            forbidden = [_unevaluated(cell) for cell in self.of(words.inner("not", holds=False))]
            cells = self.both(cells, forbidden, words.path)
        for alternatives in self._alternatives(words):
            parts = [cell for condition in alternatives for cell in self.of(condition)]
            cells = self.both(cells, list(dict.fromkeys(parts)), words.path)
        for name, others, other in words.dependencies():
            has = [Cell("object", Object(required=(*others, name)))]
            needed = self.document.inner(words.number, other, f"dependentSchemas/{name}")
            lacks = [Cell("object", objects.without(name))]
            lacks += [cell for cell in EVERYTHING if cell.type != "object"]
            with_it = self.both(has, self.of(needed), words.path)
            cells = self.both(cells, [*lacks, *with_it], words.path)
        return [self._closed(cell, words) for cell in cells]

    def _conditions(self, words: Keywords) -> list[Condition]:
        """What must hold besides a schema's own keywords."""
        number, document = words.number, self.document
        found = [document.target(number, key) for key in words.references()]
        found += self._all(number, "allOf") if "allOf" in words.schema else []
        return found

    def _alternatives(self, words: Keywords) -> list[list[Condition]]:
        """The unions of which one must hold besides a schema's own keywords."""
        number, schema, inner = words.number, words.schema, self.document.inner
        found: list[list[Condition]] = []
        if "anyOf" in schema:
            found.append(self._all(number, "anyOf"))
        if "oneOf" in schema:
            found.append(self._exactly_one(number))
        if "if" in schema and ("then" in schema or "else" in schema):
            found.append(
                [
                    all_hold(
                        inner(number, schema["if"], "if", holds=holds),
                        inner(number, schema.get(key, True), key),
                    )
                    for holds, key in ((True, "then"), (False, "else"))
                ]
            )
        return found

    def _of_negative(self, words: Keywords) -> list[Cell]:
        """What does not fit a schema: what any of its keywords forbids."""
        number, schema, document = words.number, words.schema, self.document
        found = [cell for union in words.complements() for cell in _cells(union)]
        if unions := words.value_complements():
            others = list(EVERYTHING)
            for union in unions:
                others = self.both(others, _cells(union), words.path)
            found += others
        for key in words.references():
            found += self.of(document.target(number, key, holds=False))
        if "allOf" in schema:
            for condition in self._all(number, "allOf", holds=False):
                found += self.of(condition)
        if "anyOf" in schema:
            found += self.of(all_hold(*self._all(number, "anyOf", holds=False)))
        if "oneOf" in schema:
            found += self._not_exactly_one(number)
        if "not" in schema:
            found += self.of(document.inner(number, schema["not"], "not"))
        for holds, key in ((True, "then"), (False, "else")):
            if "if" in schema and key in schema:
                condition = document.inner(number, schema["if"], "if", holds=holds)
                other = document.inner(number, schema[key], key, holds=False)
                found += self.of(all_hold(condition, other))
        for name, needed_names, needed_schema in words.dependencies():
            has = Cell("object", Object(required=(name,)))
            place = f"dependentSchemas/{name}"
            fails = list(self.of(document.inner(number, needed_schema, place, holds=False)))
            fails += [Cell("object", objects.without(needed)) for needed in needed_names]
            found += self.both([has], fails, words.path)
        return list(dict.fromkeys(found))

    def _all(self, number: int, key: str, *, holds: bool = True) -> list[Condition]:
        parts = self.document.schema(number)[key]
        if not isinstance(parts, list) or not parts:
            raise GrammarError(f"{self.document.path(number)}: {key} must be a list of schemas")
        return [
            self.document.inner(number, part, f"{key}/{index}", holds=holds)
            for index, part in enumerate(parts)
        ]

    def _exactly_one(self, number: int) -> list[Condition]:
        """The branches of oneOf, each without those that may fit as well."""
        branches = self._all(number, "oneOf")
        others = self._all(number, "oneOf", holds=False)
        found = list(branches)
        for pair in sorted(overlapping(self, branches)):
            for index, other in (pair, pair[::-1]):
                found[index] = all_hold(found[index], others[other])
                try:
                    self.of(found[index])
                except GrammarError as error:
                    raise GrammarError(
                        f"{self.document.path(number)}: a value may fit both oneOf/{pair[0]} and "
                        f"oneOf/{pair[1]}, and what fits only one cannot be told: {error}"
                    ) from error
        return found

    def _not_exactly_one(self, number: int) -> list[Cell]:
        branches = self._all(number, "oneOf")
        found = self.of(all_hold(*self._all(number, "oneOf", holds=False)))
        for index, branch in enumerate(branches):
            for other in branches[:index]:
                found = [*found, *self.of(all_hold(branch, other))]
        return found

    def _closed(self, cell: Cell, words: Keywords) -> Cell:
        """A cell with what unevaluatedProperties and unevaluatedItems say."""
        if isinstance(cell.rest, Object) and "unevaluatedProperties" in words.schema:
            condition = words.inner("unevaluatedProperties")
            return cell._replace(rest=objects.with_unevaluated(cell.rest, condition))
        if isinstance(cell.rest, Array) and "unevaluatedItems" in words.schema:
            condition = words.inner("unevaluatedItems")
            return cell._replace(rest=arrays.with_unevaluated(cell.rest, condition))
        return cell

    def _both(self, a: Cell, b: Cell) -> Cell | None:
        if a.values is not None or b.values is not None:
            listed, other = (a, b) if a.values is not None else (b, a)
            assert listed.values is not None
            values = tuple(text for text in listed.values if self._has(other, text))
            return Cell(a.type, None, values) if values else None
        match a.rest, b.rest:
            case Interval() as left, Interval() as right:
                interval = numbers.both(left, right)
                return interval and Cell(a.type, interval)
            case Text() as left, Text() as right:
                text = strings.both(left, right)
                return text and Cell(a.type, text)
            case Array() as left, Array() as right:
                array = arrays.both(left, right)
                return array and Cell(a.type, array)
            case Object() as left, Object() as right:
                found = objects.both(left, right)
                return found and Cell(a.type, found)
        raise AssertionError(a)

    def _has(self, cell: Cell, text: str) -> bool:
        if cell.values is not None and text in cell.values:
            return True
        return self._fits(json.loads(text), cell)

    def _fits(self, value: object, cell: Cell) -> bool:
        if cell.values is not None:
            text = json.dumps(value)
            return any(equality_key(text) == equality_key(other) for other in cell.values)
        match cell.rest:
            case Interval():
                assert isinstance(value, (int, float))
                return numbers.contains(cell.rest, value)
            case Text():
                assert isinstance(value, str)
                return strings.contains(cell.rest, value)
            case Array():
                assert isinstance(value, list)
                return arrays.contains(cell.rest, value, self.fits)
            case Object():
                assert isinstance(value, dict)
                return objects.contains(cell.rest, value, self.fits)
        raise AssertionError(cell)

    def _is_empty(self, cell: Cell, depth: int) -> bool:
        if cell.values is not None:
            return not cell.values
        match cell.rest:
            case Text():
                return strings.is_empty(cell.rest)
            case Array(prefix, rest, _, least):
                items = [*prefix[:least], *([rest] if least > len(prefix) else [])]
                return any(self.is_empty(item, depth + 1) for item in items)
            case Object(required=required):
                return any(
                    self.is_empty(objects.condition_of(cell.rest, name, self.fits), depth + 1)
                    for name in required
                )
        return False


def _cells(union: list[Part]) -> list[Cell]:
    found = []
    for kind, what in union:
        if isinstance(what, (Interval, Text, Array, Object)):
            found.append(Cell(kind, what))
        else:
            found.append(Cell(kind, None, what))
    return found


def _unevaluated(cell: Cell) -> Cell:
    """The same cell with nothing evaluated, as a schema that must not hold evaluates nothing."""
    match cell.rest:
        case Array():
            return cell._replace(rest=arrays.unevaluated(cell.rest))
        case Object():
            return cell._replace(rest=objects.unevaluated(cell.rest))
    return cell
