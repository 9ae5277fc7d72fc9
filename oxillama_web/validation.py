"""Checks of what a caller chooses: settings, and arguments of public methods.

A check takes the name of a setting and its value. It returns the value in its plain form, such as
an int for a NumPy integer and a tuple for a list, or raises an InvalidRequestError that names the
setting. Fields of a dataclass declare theirs with `setting`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, fields
from functools import cache
from numbers import Real
from operator import index
from typing import Any, NoReturn

from .errors import InvalidRequestError

Check = Callable[[str, Any], Any]

MAX_COUNT = 1 << 30
MAX_INT64 = (1 << 63) - 1
_MAX_SHOWN = 60


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise InvalidRequestError unless the condition holds.

    Args:
        name: the option that the condition is about.
        value: what it was set to.
        allowed: what it may be, for the message.
    """
    if not condition:
        refuse(name, value, allowed)


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise the error of `require`."""
    raise InvalidRequestError(f"{name} is {shown(value)}; it must be {allowed}")


def shown(value: object) -> str:
    """Return a value for a message: whatever it is, and not too long."""
    try:
        text = repr(value)
    except Exception:  # an integer of too many digits, an object that cannot be shown
        return f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


# settings of dataclasses


def setting(default: Any, check: Check, **metadata: Any) -> Any:
    """Declare a field of a dataclass that `check_settings` checks."""
    return field(default=default, metadata={"check": check, **metadata})


def check_settings(config: Any) -> None:
    """Check all fields of a dataclass, and put their plain values in place."""
    for name, check in settings_of(config.__class__).items():
        object.__setattr__(config, name, check(name, getattr(config, name)))


@cache
def settings_of(kind: Any) -> Mapping[str, Check]:
    """Return the checks of a dataclass's fields."""
    return {f.name: f.metadata["check"] for f in fields(kind) if "check" in f.metadata}


# checks


def integer(lowest: int, highest: int = MAX_COUNT) -> Check:
    """An integer, also of NumPy, but no truth value and no float."""

    def check(name: str, value: Any) -> int:
        plain = None if isinstance(value, (bool, float)) else _index(value)
        if plain is None or not lowest <= plain <= highest:
            refuse(name, value, f"an integer, {lowest} to {highest}")
        return plain

    return check


def number(lowest: float, highest: float, *, above: bool = False) -> Check:
    """A number; with `above`, the lowest itself is not allowed."""

    def check(name: str, value: Any) -> float:
        plain = _float(value)
        is_right = lowest < plain <= highest if above else lowest <= plain <= highest
        allowed = (
            f"above {lowest:g}, at most {highest:g}" if above else f"{lowest:g} to {highest:g}"
        )
        require(is_right, name, value, f"a number, {allowed}")
        return plain

    return check


def any_text(name: str, value: Any) -> str:
    """A str."""
    require(isinstance(value, str), name, value, "text")
    return str(value)


def file_path(name: str, value: Any) -> str:
    """The path of a file, as text or as a Path."""
    plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    require(isinstance(plain, str) and "\0" not in plain, name, value, "the path of a file")
    return str(plain)


def boolean(name: str, value: Any) -> bool:
    """True or False."""
    require(isinstance(value, bool), name, value, "True or False")
    return bool(value)


def choice(*allowed: str) -> Check:
    """One of some texts."""
    quoted = [f'"{each}"' for each in allowed]

    def check(name: str, value: Any) -> str:
        is_right = isinstance(value, str) and value in allowed
        require(is_right, name, value, f"{', '.join(quoted[:-1])} or {quoted[-1]}")
        return str(value)

    return check


def instance(kind: Any, expected: str) -> Check:
    """An object of a class, or of one of some classes."""

    def check(name: str, value: Any) -> Any:
        require(isinstance(value, kind), name, value, expected)
        return value

    return check


def optional(check: Check) -> Check:
    """None, or what the check allows."""
    return lambda name, value: None if value is None else check(name, value)


def tuple_of(each: Check, expected: str) -> Check:
    """A list or another sequence, but no text; NumPy's arrays are sequences too."""

    def check(name: str, value: Any) -> tuple[Any, ...]:
        items = value.tolist() if hasattr(value, "tolist") else value
        is_list = isinstance(items, Sequence) and not isinstance(items, (str, bytes, bytearray))
        require(is_list, name, value, expected)
        return tuple(each(name, item) for item in items)

    return check


def mapping_of(key: Check, item: Check, expected: str) -> Check:
    """A mapping."""

    def check(name: str, value: Any) -> dict[Any, Any]:
        require(isinstance(value, Mapping), name, value, expected)
        return {key(f"a key of {name}", k): item(f"{name}[{k!r}]", v) for k, v in value.items()}

    return check


def _nonempty(name: str, value: Any) -> str:
    require(isinstance(value, str) and value != "", name, value, "texts of at least one letter")
    return str(value)


def buffer(name: str, value: Any) -> Any:
    """Bytes, in any object that has them side by side: bytes, mmap, an array of NumPy."""
    try:
        memoryview(value).cast("B").release()
    except TypeError:
        refuse(name, value, "bytes, or another buffer")
    return value


def having(method: str, expected: str) -> Check:
    """An object with a method of this name."""

    def check(name: str, value: Any) -> Any:
        require(callable(getattr(value, method, None)), name, value, expected)
        return value

    return check


def function(name: str, value: Any) -> Any:
    """What can be called."""
    require(callable(value), name, value, "a function")
    return value


nonempty_texts = tuple_of(_nonempty, "a list of texts")
# a token, a position: the model says which there are
any_integer = integer(-MAX_INT64 - 1, MAX_INT64)


def token_ids(name: str, value: Any, allowed: str = "a list of token ids") -> list[int]:
    """Token ids. Long lists are usual, so that one of plain ints is taken as it is."""
    if type(value) is list and set(map(type, value)) <= {int} and _are_int64(value):
        return list(value)
    return list(tuple_of(any_integer, allowed)(name, value))


def token_set(name: str, value: Any) -> frozenset[int]:
    """Token ids in any collection."""
    is_right = isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))
    require(is_right, name, value, "token ids")
    return frozenset(any_integer(name, each) for each in value)


def _are_int64(values: list[int]) -> bool:
    return not values or (min(values) >= -MAX_INT64 - 1 and max(values) <= MAX_INT64)


def _index(value: Any) -> int | None:
    try:
        return index(value)
    except TypeError:
        return None


def _float(value: Any) -> float:
    """A number as a float; NaN for everything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("nan")
