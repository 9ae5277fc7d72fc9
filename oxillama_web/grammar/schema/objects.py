"""Objects: what each property must be, by its name, and which there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from .documents import ALWAYS, NEVER, Condition, all_hold
from .machines import accepts
from .regex import parse_regex
from .regex_machine import RegexMachine


class Group:
    """What one schema says of properties by their names.

    Args:
        properties: the conditions of properties that it names.
        patterns: those of properties whose names match.
        rest: that of all others.
        has_rest: whether the schema says so.
        evaluates: whether unevaluatedProperties does not speak of these properties.
    """

    def __init__(
        self,
        properties: Mapping[str, Condition],
        patterns: Mapping[str, Condition] | None = None,
        rest: Condition = ALWAYS,
        has_rest: bool = False,
        evaluates: bool = True,
    ) -> None:
        self.properties = properties
        self.patterns = patterns or {}
        self.rest = rest
        self.has_rest = has_rest
        self.evaluates = evaluates


class Object(NamedTuple):
    """Objects by what their properties are.

    Attributes:
        groups: what each of several schemas says.
        required: the names of properties that there must be.
        least: the fewest properties.
        most: the most; None is no bound.
        names: the conditions of names.
        exists: patterns of which there must be a property with such a name that fits a condition.
    """

    groups: tuple[Group, ...] = ()
    required: tuple[str, ...] = ()
    least: int = 0
    most: int | None = None
    names: tuple[Condition, ...] = ()
    exists: tuple[tuple[str, Condition], ...] = ()


def without(name: str) -> Object:
    """Return the objects that lack a property."""
    return Object((Group({name: NEVER}, evaluates=False),))


def both(a: Object, b: Object) -> Object | None:
    """Return what are both; None if it is plain that nothing is."""
    mosts = [most for most in (a.most, b.most) if most is not None]
    found = Object(
        tuple(dict.fromkeys((*a.groups, *b.groups))),
        tuple(dict.fromkeys((*a.required, *b.required))),
        max(a.least, b.least),
        min(mosts, default=None),
        tuple(dict.fromkeys((*a.names, *b.names))),
        tuple(dict.fromkeys((*a.exists, *b.exists))),
    )
    if found.most is not None and found.most < max(found.least, len(found.required)):
        return None
    for group in found.groups:
        for name in found.required:
            if group.properties.get(name, ALWAYS) is NEVER:
                return None
    return found


def with_unevaluated(rest: Object, condition: Condition) -> Object:
    """Return the objects whose properties that no schema speaks of fit a condition."""
    properties: dict[str, Condition] = {}
    patterns: dict[str, Condition] = {}
    for group in rest.groups:
        if group.evaluates:
            if group.has_rest:
                return rest
            properties.update(dict.fromkeys(group.properties, ALWAYS))
            patterns.update(dict.fromkeys(group.patterns, ALWAYS))
    return rest._replace(groups=(*rest.groups, Group(properties, patterns, condition, True)))


def unevaluated(rest: Object) -> Object:
    """Return the same objects, of all of whose properties unevaluatedProperties speaks."""
    groups = (Group(g.properties, g.patterns, g.rest, g.has_rest, False) for g in rest.groups)
    return rest._replace(groups=tuple(groups))


def condition_of(rest: Object, name: str, fits: Callable[[object, Condition], bool]) -> Condition:
    """Return the condition of the property with a name."""
    found: Condition = ALWAYS
    for group in rest.groups:
        is_named = name in group.properties
        if is_named:
            found = all_hold(found, group.properties[name])
        for pattern, condition in group.patterns.items():
            in_all, in_any = matches(pattern, name)
            if in_any:
                found = all_hold(found, condition)
            is_named = is_named or in_all
        if not is_named:
            found = all_hold(found, group.rest)
    return found if all(fits(name, condition) for condition in rest.names) else NEVER


def matches(pattern: str, name: str) -> tuple[bool, bool]:
    """Return whether a pattern matches a name in all dialects, and in any."""
    inner, outer = pattern_machines(pattern)
    return accepts(inner, name), accepts(outer, name)


@lru_cache(256)
def pattern_machines(pattern: str) -> tuple[RegexMachine, RegexMachine]:
    """Return what a pattern matches in all dialects, and in any."""
    regex = parse_regex(pattern)
    return RegexMachine(regex), RegexMachine(regex, outer=True)


def contains(
    rest: Object, value: dict[str, object], fits: Callable[[object, Condition], bool]
) -> bool:
    """Return whether it is certain that a value is one of these objects."""
    if len(value) < rest.least or (rest.most is not None and len(value) > rest.most):
        return False
    if not all(name in value for name in rest.required):
        return False
    for pattern, condition in rest.exists:
        if not any(matches(pattern, n)[0] and fits(v, condition) for n, v in value.items()):
            return False
    return all(fits(item, condition_of(rest, name, fits)) for name, item in value.items())
