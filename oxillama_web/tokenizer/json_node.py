"""Reading a tokenizer.json value by value, each of the type that it must have.

Everything that the file says passes through a Node. What is missing or of a wrong type is an error
that names its place, so that the code behind it can rely on types and ranges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ..errors import TokenizerError

T = TypeVar("T")

# of the parts that are read one by one; the `tokenizers` library allows 128
_MAX_DEPTH = 100

_TYPE_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


class Node:
    """A value, and where it is, such as "pre_tokenizer.pretokenizers[1].pattern"."""

    __slots__ = ("_depth", "place", "value")

    def __init__(self, value: Any, place: str, depth: int = 0) -> None:
        self.value = value
        self.place = place
        self._depth = depth
        if depth > _MAX_DEPTH:
            raise self.error("is nested too deeply")

    def error(self, why: str) -> TokenizerError:
        """Return the error of a file that is wrong here."""
        return TokenizerError(
            f"the tokenizer.json is broken or incomplete: {self.place or 'it'} {why}"
        )

    def __contains__(self, key: str) -> bool:
        """Return whether an object has a member that is not null."""
        return self._object().get(key) is not None

    def member(self, key: str) -> Node:
        """Return a member of an object.

        Raises:
            TokenizerError: it has no such member, or is no object.
        """
        members = self._object()
        if key not in members:
            raise self.error(f"has no {key!r}")
        place = f"{self.place}.{key}" if self.place else key
        return Node(members[key], place, self._depth + 1)

    def items(self, key: str) -> list[Node]:
        """Return the items of a member that is a list; none if it is missing or null."""
        if key not in self:
            return []
        found = self.member(key)
        depth = self._depth + 2
        return [
            Node(item, f"{found.place}[{i}]", depth) for i, item in enumerate(found.list_value())
        ]

    def object_value(self) -> dict[str, Any]:
        """Return the object that this is."""
        return self._object()

    def list_value(self) -> list[Any]:
        """Return the list that this is."""
        if not isinstance(self.value, list):
            raise self._wrong_type("a list")
        return self.value

    def text_value(self) -> str:
        """Return the text that this is."""
        if not isinstance(self.value, str):
            raise self._wrong_type("a text")
        return self.value

    def integer_value(self, low: int, high: int) -> int:
        """Return the whole number that this is, if it is between two others."""
        if type(self.value) is not int:
            raise self._wrong_type("a whole number")
        if not low <= self.value <= high:
            raise self.error(f"is not between {low} and {high}")
        return self.value

    # the value of a member, or a default if it is missing or null

    def text(self, key: str, default: str | None = None, max_length: int | None = None) -> str:
        """Return a text, of at most some characters; without a default it must be there."""
        if default is not None and key not in self:
            return default
        node = self.member(key)
        value = node.text_value()
        if max_length is not None and len(value) > max_length:
            raise node.error(f"has more than {max_length} characters")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        if key not in self:
            return default
        node = self.member(key)
        if not isinstance(node.value, bool):
            raise node._wrong_type("true or false")
        return node.value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number; it may only be missing if there is a default."""
        if default is not None and key not in self:
            return default
        return self.member(key).integer_value(low, high)

    def choice(
        self, key: str, choices: Mapping[str, T], what: str, default: str | None = None
    ) -> T:
        """Return what a text stands for.

        Args:
            key: the member with the text.
            choices: what the texts stand for.
            what: what the texts are names of, for errors.
            default: the text if there is none.
        """
        name = self.text(key, default)
        if name not in choices:
            raise TokenizerError(
                f"the {what} {name!r} is not supported ({self.place} of the tokenizer.json); "
                f"supported are: {', '.join(choices)}"
            )
        return choices[name]

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self._wrong_type("an object")
        return self.value

    def _wrong_type(self, wanted: str) -> TokenizerError:
        found = _TYPE_NAMES.get(type(self.value), type(self.value).__name__)
        return self.error(f"is {found} instead of {wanted}")


def read_json(text: str | bytes) -> Node:
    """Return the root of a file.

    Raises:
        TokenizerError: the file is not JSON, or holds numbers or texts that JSON does not allow.
    """
    import json

    try:
        root = Node(json.loads(text, parse_constant=_refuse_constant), "")
    except (ValueError, RecursionError) as error:
        raise TokenizerError(
            f"the tokenizer.json is broken or incomplete: it is not JSON: {error}"
        ) from error
    for node in _broken_texts(root, text):
        raise node.error("holds half of a surrogate pair")
    return root


def finite_numbers(node: Node, values: list[Any]) -> list[float]:
    """Return numbers as floats.

    Raises:
        TokenizerError: one of them is no number, or is infinite.
    """
    if not set(map(type, values)) <= {int, float}:
        raise node.error("holds something that is no number")
    try:
        numbers = list(map(float, values))
    except OverflowError:
        numbers = [math.inf]
    if not all(map(math.isfinite, numbers)):
        raise node.error("holds a number that is too great")
    return numbers


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _broken_texts(root: Node, text: str | bytes) -> Iterator[Node]:
    """Yield the values that hold half of a surrogate pair: JSON allows it, but it is no text."""
    import json

    if isinstance(text, str):
        may_be = "\\ud" in text or "\\uD" in text or not _is_encodable(text)
    else:
        may_be = b"\\ud" in text or b"\\uD" in text or b"\0" in text
    if not may_be or _is_encodable(json.dumps(root.value, ensure_ascii=False)):
        return
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node.value, dict):
            if not _is_encodable("".join(node.value)):
                yield node
            waiting += [Node(value, f"{node.place}.{key}") for key, value in node.value.items()]
        elif isinstance(node.value, list):
            waiting += [Node(item, f"{node.place}[{i}]") for i, item in enumerate(node.value)]
        elif isinstance(node.value, str) and not _is_encodable(node.value):
            yield node


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
