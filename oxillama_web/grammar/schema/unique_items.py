"""Arrays no two of whose items are equal, as GBNF.

Each value of a small set has a mark of its own. Of strings and numbers without end, those that are
written together differ in a remainder that is computed from their text and has a mark: so two of
them are never equal, but of 61 different pairs one cannot be written. The rules of the items lead
from one to the next instead of returning, because marks are those of one rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable

from ...errors import GrammarError
from ..expressions import LAST_CODE_POINT, Ranges
from .arrays import Array
from .cells import Cell, Cells
from .machine_rules import write_dfa
from .machines import Machine, Product, State, explore, words_of
from .numbers import Interval, distinct_forms, few_integers
from .strings import Text, machines
from .text import NOTHING, Rules, char_class, literal, string_char
from .values import equality_key, json_text

_MODULUS = 61
# So many times the rules of the items are written when items are counted.
_MAX_COUNTED = 8
_MAX_LISTED = 200
_ALL: Ranges = ((0, LAST_CODE_POINT),)
_ASCII: list[Ranges] = [((code, code),) for code in range(0x80)]


# Writes an item, given what is before it and what follows it, as GBNF.
Write = Callable[[str, str], list[str]]


class UniqueItems:
    """Writes arrays of different items.

    Args:
        cells: finds what items may be.
        rules: to which rules are added.
    """

    def __init__(self, cells: Cells, rules: Rules) -> None:
        self._cells = cells
        self._rules = rules

    def write(self, array: Array) -> str:
        """Return an array's rule.

        Raises:
            GrammarError: its items are objects or arrays, or too many are counted.
        """
        if array.prefix or array.contains:
            raise GrammarError("uniqueItems beside prefixItems or contains is not supported")
        cells = [_listed(cell) for cell in self._cells.of(array.rest)]
        writers, n_values = self._items(cells)
        least, most = array.least, array.most
        if most is not None and most >= n_values:
            most = None
        if least > n_values:
            return NOTHING
        n_counted = max(least, most or 0)
        if n_counted > _MAX_COUNTED and n_values * n_counted > 2000:
            raise GrammarError(f"uniqueItems of more than {_MAX_COUNTED} items that are counted")
        # what follows so many items; the last one may follow itself
        after = [self._rules.new("items") for _ in range(n_counted + 1)]
        for count in range(n_counted + 1):
            options = ["space"] if count and count >= least else []
            if most is None or count < most:
                following = after[min(count + 1, n_counted)] if n_counted else after[0]
                comma = '"," space ' if count else ""
                options += [item for write in writers for item in write(comma, following)]
            self._rules.define(after[count], f"({' | '.join(options) or NOTHING})")
        if n_counted == 0:
            # the first item has no comma before it, and all that follow have one
            comma = '"," space '
            items = [item for write in writers for item in write("", after[0])]
            more = [item for write in writers for item in write(comma, after[0])]
            first = self._rules.add("items", f"({' | '.join(items) or NOTHING})")
            self._rules.define(after[0], f"({' | '.join([*more, 'space'])})")
            return self._rules.add("array", f'"[" space ({first})? "]"')
        body = after[0] if least else f"({after[0]})?"
        return self._rules.add("array", f'"[" space {body} "]"')

    def _items(self, cells: list[Cell]) -> tuple[list[Write], int]:
        """What writes an item and what follows it, and how many items there can be."""
        endless = {cell.type for cell in cells if cell.values is None}
        writers: list[Write] = []
        marks = _Marks()
        seen: set[object] = set()
        n_values = 0
        for cell in cells:
            if cell.values is not None:
                for text in cell.values:
                    if equality_key(text) in seen:
                        continue
                    seen.add(equality_key(text))
                    n_values += cell.type not in endless
                    writers.append(_value_writer(text, marks.of_value(text, cell.type in endless)))
            elif isinstance(cell.rest, Text):
                writers.append(self._text_writer(cell.rest, marks))
            elif isinstance(cell.rest, Interval):
                writers.append(self._number_writer(cell.rest, marks))
        if not writers and cells:
            raise GrammarError("uniqueItems of objects or arrays is not supported")
        return writers, n_values + _MODULUS * len(endless & {"string", "number"})

    def _text_writer(self, text: Text, marks: _Marks) -> Write:
        dfa = explore(_Summed(machines(text)), _ALL, "a string beside uniqueItems")

        def rule(after: str) -> list[str]:
            def suffix(label: Hashable) -> str:
                return f'#once {marks.of_sum("string", label)}\n"\\"" {after}'

            if dfa is None:
                return []
            found = write_dfa(dfa, self._rules, self._char, suffix, text.least, text.most)
            return [] if found == NOTHING else [f'"\\"" {found}']

        return _once_each(rule)

    def _number_writer(self, interval: Interval, marks: _Marks) -> Write:
        forms = [
            (sign, explore(_Summed(parts), alphabet, "a number beside uniqueItems"))
            for sign, parts, alphabet in distinct_forms(interval)
        ]

        def rule(after: str) -> list[str]:
            def suffix(label: Hashable) -> str:
                return f"#once {marks.of_sum('number', label)}\n{after}"

            return [
                f"{sign}{write_dfa(dfa, self._rules, char_class, suffix)}"
                for sign, dfa in forms
                if dfa is not None
            ]

        return _once_each(rule)

    def _char(self, ranges: Ranges) -> str:
        found = string_char(ranges)
        return found if len(found) < 24 else self._rules.add("char", found)


class _Marks:
    """Numbers of marks: the remainders of each type first, then values."""

    def __init__(self) -> None:
        self._n = 2 * _MODULUS

    def of_sum(self, kind: str, total: Hashable) -> int:
        assert isinstance(total, int)
        return total + (_MODULUS if kind == "number" else 0)

    def of_value(self, text: str, is_summed: bool) -> int:
        if not is_summed:
            self._n += 1
            return self._n - 1
        value = json.loads(text)
        if isinstance(value, str):
            return self.of_sum("string", _sum(value))
        is_whole = isinstance(value, float) and value.is_integer()
        # the sign does not count
        return self.of_sum("number", _sum((str(int(value)) if is_whole else text).lstrip("-")))


class _Summed:
    """What some machines accept; a label is the remainder of a sum of the characters."""

    def __init__(self, parts: list[Machine]) -> None:
        self._product = Product(parts)
        self.sets: Iterable[Ranges] = [*self._product.sets, *_ASCII]
        self.start: State = (self._product.start, 0)

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        at = self._product.step(state[0], code)
        return None if at is None else (at, _add(state[1], code))

    def label(self, state: State) -> Hashable:
        """Return the remainder."""
        assert isinstance(state, tuple)
        return False if self._product.label(state[0]) is False else state[1]


def _add(total: int, code: int) -> int:
    # characters beyond ASCII do not count, because each would need a state of its own
    return (total * 2 + code) % _MODULUS if code < 0x80 else total


def _sum(text: str) -> int:
    total = 0
    for code in map(ord, text):
        total = _add(total, code)
    return total


def _value_writer(text: str, mark: int) -> Write:
    # the mark first: a comma must not come in vain
    return lambda before, after: [f"#once {mark}\n{before}{literal(text)} {after}"]


def _once_each(rule: Callable[[str], list[str]]) -> Write:
    """Write the rules for what follows an item once, whatever is before it."""
    written: dict[str, list[str]] = {}

    def write(before: str, after: str) -> list[str]:
        if after not in written:
            written[after] = rule(after)
        return [f"{before}{text}" for text in written[after]]

    return write


def _listed(cell: Cell) -> Cell:
    """A cell by its values, if they are few."""
    if isinstance(cell.rest, Interval):
        integers = few_integers(cell.rest, _MAX_LISTED)
        return cell if integers is None else Cell(cell.type, None, tuple(map(str, integers)))
    if isinstance(cell.rest, Text) and (parts := machines(cell.rest)):
        dfa = explore(Product(parts), _ALL, "a string beside uniqueItems")
        words = [] if dfa is None else words_of(dfa, _MAX_LISTED)
        if words is not None:
            least, most = cell.rest.least, cell.rest.most
            fitting = [w for w in words if least <= len(w) and (most is None or len(w) <= most)]
            return Cell(cell.type, None, tuple(json_text(word, "#") for word in fitting))
    return cell
