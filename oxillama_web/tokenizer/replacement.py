"""The "Replace" of a tokenizer.json's normalizers and decoders."""

from __future__ import annotations

from ..errors import TokenizerError
from .growth import MAX_INSERTED, check_length
from .json_node import Node
from .regex import UnicodeRegex


class Replacement:
    """Replaces a text or a pattern by another text.

    Attributes:
        regex: the pattern; None if it replaces a text.
        growth: how many times as long as before it can make a text.
    """

    def __init__(self, node: Node, what: str) -> None:
        """`what` is what the replacement is part of, for errors."""
        self._what = what
        self._new = node.text("content", max_length=MAX_INSERTED)
        pattern = node.member("pattern")
        self._old = pattern.text("String") if "String" in pattern else ""
        self.regex = None if self._old else pattern_of(pattern)
        shortest = len(self._old)  # a pattern may match nothing
        self.growth = max(1.0, len(self._new) / max(shortest, 1) + (shortest == 0))

    def __call__(self, text: str, limit: int) -> str:
        """Return the text with the replacements.

        Raises:
            TokenizerError: it would be longer than the limit.
        """
        if self.regex is None:
            more = len(self._new) - len(self._old)
            if more > 0:
                check_length(len(text) + text.count(self._old) * more, limit, self._what)
            return text.replace(self._old, self._new)
        parts = self.regex.split(text)
        n_matches = len(parts) // 2
        if not n_matches:
            return text
        check_length(sum(map(len, parts[::2])) + n_matches * len(self._new), limit, self._what)
        parts[1::2] = [self._new] * n_matches
        return "".join(parts)


def pattern_of(node: Node) -> UnicodeRegex:
    """Return the pattern of a {"Regex": ...}, or of a {"String": ""}, which is found everywhere.

    Raises:
        TokenizerError: it is broken, or uses something that is not supported.
    """
    if "String" in node:
        return UnicodeRegex(node.text("String"))
    try:
        return UnicodeRegex(node.text("Regex"))
    except TokenizerError as error:
        raise TokenizerError(f"{error}, in {node.place} of the tokenizer.json") from error
