"""Conditions as rules of a grammar: the last step from a schema to GBNF."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ...errors import GrammarError
from .arrays import Array, write_array
from .cells import Cell, Cells
from .documents import ASSERTIONS, Condition, Document
from .numbers import Interval, shared_number_rules, write_numbers
from .object_rules import ObjectWriter
from .objects import Object
from .strings import Text, write_text
from .text import FREE_SPACE, JSON_RULES, NO_SPACE, NOTHING, Rules, choice, literal
from .unique_items import UniqueItems
from .values import number_texts

_MAX_DEPTH = 60


class Compiler:
    """Compiles one schema.

    Args:
        root: the schema.
        documents: others by address, to which references may point.
    """

    def __init__(self, root: object, documents: Mapping[str, object] | None = None) -> None:
        self._document = Document(root, documents)
        self._cells = Cells(self._document)
        self._rules = Rules()
        self._objects = ObjectWriter(self._rules, self._condition, self._cells.fits, self._texts)
        self._unique = UniqueItems(self._cells, self._rules)
        # what is written, and what is being written, with the rule that it needs if it is inside
        # of itself
        self._written: dict[Condition, str] = {}
        self._open: dict[Condition, str | None] = {}
        # what references point to, and what of it is still to be written
        self._referred: dict[Condition, str] = {}
        self._pending: list[tuple[Condition, str]] = []

    def compile(self, *, spaces: bool) -> str:
        """Return the grammar."""
        root = self._condition(self._document.root())
        while self._pending:
            condition, name = self._pending.pop()
            self._rules.define(name, self._condition(condition))
        space = FREE_SPACE if spaces else NO_SPACE
        return f"root ::= {root}\n{self._rules.text()}\n{shared_number_rules()}{JSON_RULES}{space}"

    def _condition(self, condition: Condition) -> str:
        """What fits a condition, as one item of GBNF."""
        if condition is None:
            return NOTHING
        if not condition:
            return "value"
        if condition in self._written:
            return self._written[condition]
        if condition in self._open:
            name = self._open[condition]
            if name is None:
                name = self._open[condition] = self._rules.new("loop")
            return name
        if len(self._open) >= _MAX_DEPTH:
            path = self._cells.path(condition)
            raise GrammarError(f"{path}: schemas are too deeply inside of each other")
        if (name := self._reference(condition)) is not None:
            return name
        self._open[condition] = None
        found = self._union(condition)
        name = self._open.pop(condition)
        if name is not None:
            self._rules.define(name, found)
            found = name
        elif " " in found:
            found = self._rules.add("any", found)
        self._written[condition] = found
        return found

    def _reference(self, condition: frozenset[int]) -> str | None:
        """The rule that a reference stands for; None if the condition is more than that."""
        (number, *more) = condition
        if more or number < 0:
            return None
        words = ASSERTIONS & self._document.schema(number).keys()
        if len(words) > 1 or not words <= {"$ref", "$dynamicRef", "$recursiveRef"}:
            return None
        target = self._document.target(number, *words)
        if not target:
            return self._condition(target)
        name = self._referred.get(target)
        if name is None:
            name = self._referred[target] = self._rules.new("ref")
            self._pending.append((target, name))
        return name

    def _union(self, condition: Condition) -> str:
        branches = self._cells.branches(condition)
        if branches is not None:
            return choice(map(self._condition, branches))
        path = self._cells.path(condition)
        try:
            return choice(self._cell(cell) for cell in self._cells.of(condition))
        except GrammarError as error:
            if str(error).startswith("#"):
                raise
            raise GrammarError(f"{path}: {error}") from error

    def _cell(self, cell: Cell) -> str:
        if cell.values is not None:
            texts = [text for value in cell.values for text in number_texts(value)]
            return choice(map(literal, texts))
        match cell.rest:
            case Interval():
                return write_numbers(cell.rest, self._rules)
            case Text():
                return write_text(cell.rest, self._rules)
            case Array():
                return write_array(cell.rest, self._rules, self._condition, self._unique.write)
            case Object():
                return self._objects.write(cell.rest)
        raise AssertionError(cell)

    def _texts(self, condition: Condition) -> list[Text | list[str]]:
        """What a condition says of names."""
        found: list[Text | list[str]] = []
        for cell in self._cells.of(condition):
            if cell.type == "string" and cell.values is not None:
                found.append([json.loads(text) for text in cell.values])
            elif isinstance(cell.rest, Text):
                found.append(cell.rest)
        return found
