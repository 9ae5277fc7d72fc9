"""Steps one after another: what normalizers and pre-tokenizers of a tokenizer.json are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Generic, NamedTuple, TypeVar

from .growth import MAX_STEPS
from .json_node import Node
from .regex import UnicodeRegex

Apply = TypeVar("Apply")


class Step(NamedTuple, Generic[Apply]):
    """One step.

    Attributes:
        apply: what it does.
        growth: how many times as long as before it can make a text.
        regex: a pattern of the file, if the step has one.
    """

    apply: Apply
    growth: float = 1.0
    regex: UnicodeRegex | None = None


Builders = Mapping[str, Callable[[Node], list[Step[Apply]]]]


class Steps(Generic[Apply]):
    """All steps of an object, of which a "Sequence" holds several.

    Attributes:
        growth: how many times as long as before they can make a text.
        regexes: the patterns of the file.
    """

    def __init__(self, node: Node | None, what: str, key: str, builders: Builders[Apply]) -> None:
        """Read an object.

        Args:
            node: the object; None has no steps.
            what: what errors call it.
            key: where a sequence holds its items.
            builders: what reads each other type.

        Raises:
            TokenizerError: it is broken, or a type is not supported.
        """

        def read(node: Node) -> list[Step[Apply]]:
            return node.choice("type", {"Sequence": sequence, **builders}, what)(node)

        def sequence(node: Node) -> list[Step[Apply]]:
            return [step for item in node.items(key) for step in read(item)]

        steps = read(node) if node else []
        if node and len(steps) > MAX_STEPS:
            raise node.error(f"has more than {MAX_STEPS} steps")
        self._steps = [step.apply for step in steps]
        self.growth = prod(step.growth for step in steps)
        self.regexes = [step.regex for step in steps if step.regex is not None]
