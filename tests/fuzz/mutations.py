"""Mutations of values such as JSON documents and metadata: what files hold that lie."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

# what stands in place of something else: each type, and each number that is a limit somewhere
STRANGE: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 255, 256, 65_536, 1 << 24, (1 << 31) - 1, 1 << 31),
    *((1 << 32) - 1, 1 << 40, 1 << 63, 1 << 64, 10**30, -(1 << 63), 0.5, -1.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "a", "\0", "\n", "é", "▁", "😀"),
    *("\ud800", "\udc80x", "\ufffd", "<0x41>", "<s>", "x" * 5000, "ab " * 100, "\u0301" * 50),
    *([], {}, [[]], [None], [0, 0], ["a", "b"], [["a", 1]], {"type": 1}, {"a": {"b": []}}),
]
# entries of long lists and tables that are looked at as places of a mutation
_SAMPLE = 4


def mutated(value: Any, chance: random.Random, count: int) -> Any:
    """Return a copy of a value of dicts and lists with `count` places changed."""
    root = [copy.deepcopy(value)]
    for _ in range(count):
        places = _places(root, chance)
        if not places:
            return None  # even the root was removed
        container, key = chance.choice(places)
        try:
            chance.choice(_MUTATIONS)(container, key, places, chance)
        except (KeyError, IndexError, TypeError):
            continue  # a mutation before this one removed the place
    return root[0] if root else None


def _places(root: list[Any], chance: random.Random) -> list[tuple[Any, Any]]:
    """Return containers and keys of all values below the root; a sample of long containers."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting:
        container = waiting.pop()
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        for key in chance.sample(keys, _SAMPLE) if len(keys) > 40 else keys:
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                waiting.append(container[key])
    return found


_Places = list[tuple[Any, Any]]


def _replace(container: Any, key: Any, _: _Places, chance: random.Random) -> None:
    container[key] = copy.deepcopy(chance.choice(STRANGE))


def _remove(container: Any, key: Any, _: _Places, __: random.Random) -> None:
    del container[key]


def _exchange(container: Any, key: Any, places: _Places, chance: random.Random) -> None:
    """Put a copy of another place's value here."""
    other, other_key = chance.choice(places)
    container[key] = copy.deepcopy(other[other_key])


def _rename(container: Any, key: Any, places: _Places, chance: random.Random) -> None:
    if isinstance(container, dict):
        names = [other_key for _, other_key in places if isinstance(other_key, str)]
        container[chance.choice([*names, "", "\udfff", "x"])] = container.pop(key)


def _repeat(container: Any, key: Any, _: _Places, chance: random.Random) -> None:
    if isinstance(container, list):
        container[key:key] = [container[key]] * chance.choice((1, 2, 50, 3000))
    elif isinstance(container[key], list):
        container[key] = container[key] * chance.choice((2, 10))


def _nest(container: Any, key: Any, _: _Places, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 100))):
        container[key] = [container[key]]


def _edit(container: Any, key: Any, _: _Places, chance: random.Random) -> None:
    """Change a text or a number a little."""
    value = container[key]
    if isinstance(value, str):
        at = chance.randint(0, len(value))
        insert = chance.choice(["", "\\", "[", "]", "(", ")", "{", "|", "*", "▁", "\0", "é", "a"])
        container[key] = value[:at] + insert + value[at + chance.randint(0, 2) :]
    elif isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, (int, float)):
        container[key] = chance.choice((-value, value + 1, value - 1, value * 2, float(value)))


_Mutation = Callable[[Any, Any, _Places, random.Random], None]
_MUTATIONS: list[_Mutation] = [
    *(_replace, _replace, _replace, _remove, _exchange, _rename, _repeat, _nest, _edit, _edit),
]
