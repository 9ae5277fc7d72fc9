"""Arrays: their first items, all others, how many there are, and what some of them must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...errors import GrammarError
from .documents import ALWAYS, NEVER, Condition, all_hold
from .text import NOTHING, Rules, bounds

MAX_COUNTED = 2000


class Array(NamedTuple):
    """Arrays by what their items are.

    Attributes:
        prefix: the conditions of the first items.
        rest: the condition of all others.
        has_rest: whether a schema says so.
        n_evaluated: of how many first items unevaluatedItems does not speak.
        least: the fewest items.
        most: the most; None is no bound.
        unique: whether no two items are equal.
        contains: conditions that some items fit: at least, and at most so many.
    """

    prefix: tuple[Condition, ...] = ()
    rest: Condition = ALWAYS
    has_rest: bool = False
    least: int = 0
    most: int | None = None
    unique: bool = False
    contains: tuple[tuple[Condition, int, int | None], ...] = ()
    n_evaluated: int = 0


def both(a: Array, b: Array) -> Array | None:
    """Return what are both; None if it is plain that nothing is."""
    n = max(len(a.prefix), len(b.prefix))
    mosts = [most for most in (a.most, b.most) if most is not None]
    found = Array(
        tuple(all_hold(item_condition(a, i), item_condition(b, i)) for i in range(n)),
        all_hold(a.rest, b.rest),
        a.has_rest or b.has_rest,
        max(a.least, b.least),
        min(mosts, default=None),
        a.unique or b.unique,
        tuple(dict.fromkeys((*a.contains, *b.contains))),
        max(a.n_evaluated, b.n_evaluated),
    )
    most = most_items(found)
    return None if most is not None and most < found.least else found


def item_condition(array: Array, index: int) -> Condition:
    """Return the condition of the item at an index."""
    return array.prefix[index] if index < len(array.prefix) else array.rest


def most_items(array: Array) -> int | None:
    """Return how many items there can be: none from the first on that nothing fits."""
    never = [index for index, item in enumerate(array.prefix) if item is NEVER]
    if array.rest is NEVER:
        never.append(len(array.prefix))
    if array.most is not None:
        never.append(array.most)
    return min(never, default=None)


def contains(array: Array, value: list[object], fits: Callable[[object, Condition], bool]) -> bool:
    """Return whether it is certain that a value is one of these arrays."""
    if len(value) < array.least or (array.most is not None and len(value) > array.most):
        return False
    if array.unique and any(a == b for n, a in enumerate(value) for b in value[:n]):
        return False
    if not all(fits(item, item_condition(array, index)) for index, item in enumerate(value)):
        return False
    for condition, least, most in array.contains:
        if sum(fits(item, condition) for item in value) < least:
            return False
        if most is not None:
            others = sum(fits(item, opposite(condition)) for item in value)
            if len(value) - others > most:
                return False
    return True


def with_unevaluated(array: Array, condition: Condition) -> Array:
    """Return the arrays whose items that no keyword speaks of fit a condition.

    Those that `contains` speaks of must fit it too, which is more than is asked for.
    """
    if array.has_rest:
        return array
    n = max(array.n_evaluated, len(array.prefix))
    items = [item_condition(array, index) for index in range(n)]
    items[array.n_evaluated :] = [all_hold(i, condition) for i in items[array.n_evaluated :]]
    return array._replace(prefix=tuple(items), rest=all_hold(array.rest, condition), has_rest=True)


def unevaluated(array: Array) -> Array:
    """Return the same arrays, of all of whose items unevaluatedItems speaks."""
    return array._replace(has_rest=False, n_evaluated=0)


def opposite(condition: Condition) -> Condition:
    """Return the condition that a condition of one schema does not hold.

    Raises:
        GrammarError: it is of several schemas.
    """
    if condition is None:
        return ALWAYS
    if len(condition) > 1:
        raise GrammarError("contains with an upper bound and several schemas is not supported")
    return frozenset(-number for number in condition) if condition else NEVER


def write_array(
    array: Array,
    rules: Rules,
    write: Callable[[Condition], str],
    write_unique: Callable[[Array], str],
) -> str:
    """Return arrays as GBNF.

    Args:
        write: writes what fits a condition.
        write_unique: writes arrays no two of whose items are equal.

    Raises:
        GrammarError: that some items are of a kind cannot be written.
    """
    most = most_items(array)
    least = array.least
    if array.prefix and array.rest is NEVER and most is not None:
        # a closed tuple is written whole
        least = max(least, min(len(array.prefix), most))
    array = array._replace(least=least, most=most)
    if most is not None and most < least:
        return NOTHING
    if array.unique and (most is None or most > 1):
        return write_unique(array)
    if array.contains:
        return _write_counted(array, rules, write)
    if not array.prefix:
        return _write_list(array, rules, write(array.rest))
    # from the last to the first of the first items: those beyond `least` may be left out
    n_prefix = len(array.prefix) if most is None else min(len(array.prefix), most)
    rest = ""
    if most is None or most > n_prefix:
        rest = f'("," space {write(array.rest)})'
        rest += bounds(max(0, least - n_prefix), None if most is None else most - n_prefix)
    for index in reversed(range(n_prefix)):
        comma = '"," space ' if index else ""
        rest = f"{comma}{write(array.prefix[index])} {rest}"
        if index >= least:
            rest = rules.add("items", f"({rest})?")
    return rules.add("array", f'"[" space {rest} space "]"')


def _write_list(array: Array, rules: Rules, item: str) -> str:
    least, most = array.least, array.most
    if most == 0:
        return rules.add("array", '"[" space "]"')
    more = bounds(max(least - 1, 0), None if most is None else most - 1)
    items = f'{item} ("," space {item}){more} space'
    return rules.add("array", f'"[" space {items if least else f"({items})?"} "]"')


def _write_counted(array: Array, rules: Rules, write: Callable[[Condition], str]) -> str:
    """Arrays of which some items must fit a condition: rules that count them."""
    if len(array.contains) > 1:
        raise GrammarError("several contains together are not supported")
    ((condition, needed, limit),) = array.contains
    n = max(len(array.prefix), array.least, 0 if array.most is None else array.most)
    n_needed = max(needed, 0 if limit is None else limit)
    if n * (n_needed + 1) > MAX_COUNTED:
        raise GrammarError(f"contains of more than {MAX_COUNTED} items and counts")
    others = ALWAYS if limit is None else opposite(condition)
    names: dict[tuple[int, int], str] = {}
    work: list[tuple[int, int]] = []

    def rest(index: int, count: int) -> str:
        # beyond these numbers it does not matter how many there are
        if array.most is None:
            index = min(index, max(n, 1))
        if limit is None:
            count = min(count, needed)
        key = (index, count)
        if key not in names:
            names[key] = rules.new("items")
            work.append(key)
        return names[key]

    first = rest(0, 0)
    while work:
        index, count = work.pop()
        options = ["space" if index else '""'] if index >= array.least and count >= needed else []
        comma = '"," space ' if index else ""
        if array.most is None or index < array.most:
            item = item_condition(array, index)
            if limit is None or count < limit:
                fitting = write(all_hold(item, condition))
                options.append(f"{comma}{fitting} {rest(index + 1, count + 1)}")
            if limit is not None or count < needed:
                other = write(all_hold(item, others))
                options.append(f"{comma}{other} {rest(index + 1, count)}")
            else:
                options.append(f"{comma}{write(item)} {rest(index + 1, count)}")
        rules.define(names[index, count], " | ".join(options) or NOTHING)
    return rules.add("array", f'"[" space {first} "]"')
