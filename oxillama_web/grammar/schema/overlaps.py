"""Which branches of oneOf may have values in common: quickly, for thousands of branches.

Branches that only list values share what they list. Of objects, those that require a property with
listed values are told apart by it, as discriminated unions are. Only pairs that are left need to be
compared.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations
from typing import Protocol

from ...errors import GrammarError
from .documents import Condition
from .objects import Object, condition_of
from .values import equality_key

MAX_PAIRS = 20_000


class Cell(Protocol):
    """Values of one type, as `cells` has them."""

    @property
    def type(self) -> str:
        """The type."""

    @property
    def rest(self) -> object:
        """What the values must be."""

    @property
    def values(self) -> tuple[str, ...] | None:
        """The only values, as JSON, or None."""


class Cells(Protocol):
    """What finds the cells of a condition."""

    def of(self, condition: Condition) -> Sequence[Cell]:
        """Return what fits a condition."""

    def fits(self, value: object, condition: Condition) -> bool:
        """Return whether it is certain that a value fits a condition."""

    def disjoint(self, a: Condition, b: Condition) -> bool:
        """Return whether it is certain that no value fits both conditions."""


def overlapping(cells: Cells, branches: list[Condition]) -> set[tuple[int, int]]:
    """Return the pairs of branches, lower index first, that may have values in common.

    Raises:
        GrammarError: there are too many to be compared.
    """
    listed: dict[Hashable, set[int]] = {}
    endless: dict[str, list[tuple[int, Cell]]] = {}
    for index, branch in enumerate(branches):
        for cell in cells.of(branch):
            if cell.values is None:
                endless.setdefault(cell.type, []).append((index, cell))
            for text in cell.values or ():
                listed.setdefault((cell.type, equality_key(text)), set()).add(index)
    found = {pair for some in listed.values() for pair in combinations(sorted(some), 2)}
    for kind, with_cells in endless.items():
        found |= _may_be_listed(cells, kind, listed, with_cells, branches)
        found |= _candidates(cells, kind, with_cells)
        if len(found) > MAX_PAIRS:
            raise GrammarError(f"oneOf has more than {MAX_PAIRS} pairs of branches to compare")
    return {pair for pair in found if not cells.disjoint(branches[pair[0]], branches[pair[1]])}


def _may_be_listed(
    cells: Cells,
    kind: str,
    listed: dict[Hashable, set[int]],
    with_cells: list[tuple[int, Cell]],
    branches: list[Condition],
) -> set[tuple[int, int]]:
    """Pairs of a branch that lists values of a type and one that does not."""
    listing = {index for key, some in listed.items() if key[0] == kind for index in some}  # type: ignore[index]
    if len(listing) * len(with_cells) > MAX_PAIRS:
        raise GrammarError(f"oneOf has more than {MAX_PAIRS} pairs of branches to compare")
    return {_pair(a, b) for a in listing for b, _ in with_cells if a != b}


def _candidates(
    cells: Cells, kind: str, with_cells: list[tuple[int, Cell]]
) -> set[tuple[int, int]]:
    """Pairs of branches with endlessly many values of a type that may have some in common."""
    groups: Iterable[list[int]] = [[index for index, _ in with_cells]]
    if kind == "object" and len(with_cells) > 2:
        groups = _by_discriminator(cells, with_cells) or groups
    found = set()
    for group in groups:
        if len(group) ** 2 > 2 * MAX_PAIRS:
            raise GrammarError(f"oneOf has more than {MAX_PAIRS} pairs of branches to compare")
        found |= {_pair(a, b) for a, b in combinations(group, 2) if a != b}
    return found


def _by_discriminator(cells: Cells, with_cells: list[tuple[int, Cell]]) -> list[list[int]] | None:
    """The branches by the values of a property that all of them require and list; None if none."""
    objects = [(index, cell.rest) for index, cell in with_cells if isinstance(cell.rest, Object)]
    names = set(objects[0][1].required)
    for _, rest in objects:
        names &= set(rest.required)
    for name in sorted(names):
        groups: dict[object, list[int]] = {}
        for index, rest in objects:
            values = _values(cells, condition_of(rest, name, cells.fits))
            if values is None:
                break
            for value in values:
                groups.setdefault(equality_key(json.dumps(value)), []).append(index)
        else:
            return list(groups.values())
    return None


def _values(cells: Cells, condition: Condition) -> list[object] | None:
    found: list[object] = []
    for cell in cells.of(condition):
        if cell.values is None:
            return None
        found += map(json.loads, cell.values)
    return found


def _pair(a: int, b: int) -> tuple[int, int]:
    return min(a, b), max(a, b)
