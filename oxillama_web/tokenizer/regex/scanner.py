"""Reading a pattern character by character."""

from __future__ import annotations

from ...errors import TokenizerError
from .code_points import LIMIT, Ranges, clipped, complement
from .properties import named_set

_CONTROLS = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "a": "\a", "e": "\x1b"}
_PLAIN_LETTERS = frozenset("EFIJLQTUVijlmoq")  # which mean the same without a backslash
_CLASSES = {"s": "space", "d": "digit", "w": "word", "h": "xdigit"}
_HEX = frozenset("0123456789abcdefABCDEF")
_MAX_SHOWN = 500


class Scanner:
    """A place in a pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.at >= len(self.pattern)

    def peek(self, text: str) -> bool:
        """Return whether a text comes next."""
        return self.pattern.startswith(text, self.at)

    def take(self, text: str) -> bool:
        """Skip a text if it comes next; return whether it did."""
        found = self.peek(text)
        self.at += len(text) * found
        return found

    def next(self) -> str:
        """Return the next character.

        Raises:
            TokenizerError: there is none.
        """
        if self.at_end:
            raise self.error("it ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def until(self, end: str) -> str:
        """Return what comes before a text, and skip both.

        Raises:
            TokenizerError: the text does not come.
        """
        found = self.pattern.find(end, self.at)
        if found < 0:
            raise self.error(f"{end!r} is missing")
        text = self.pattern[self.at : found]
        self.at = found + len(end)
        return text

    def number(self) -> str:
        """Return the decimal digits that come next."""
        start = self.at
        while not self.at_end and self.pattern[self.at] in "0123456789":
            self.at += 1
        return self.pattern[start : self.at]

    def character_class(self, char: str, limit: int, in_brackets: bool) -> Ranges | None:
        r"""Return the set of an escape such as \d or \p{L}; None if it is not one of a class.

        Args:
            char: the character after the backslash, which has been read.
            limit: the greatest code point that is needed.
            in_brackets: whether the escape is in a bracket expression.
        """
        if char in "pP":
            if not self.take("{"):
                raise self.error(f"\\{char} without braces is not supported")
            negated = self.take("^") != (char == "P")
            name = self.until("}")
        elif char.lower() in _CLASSES:
            negated = char.isupper()
            name = _CLASSES[char.lower()]
        else:
            return None
        try:
            ranges = named_set(name, limit, in_brackets)
        except KeyError:
            raise self.error(f"the class {name!r} is not known") from None
        return clipped(complement(ranges), limit) if negated else ranges

    def escaped_character(self, char: str) -> str:
        """Return the character that an escape stands for.

        Args:
            char: the character after the backslash, which has been read.

        Raises:
            TokenizerError: it stands for something else, or is not supported.
        """
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x" and self.take("{"):
            return self._character(self.until("}"))
        if char in "xu":
            n_digits = 2 if char == "x" else 4
            digits = self.pattern[self.at : self.at + n_digits]
            self.at += n_digits
            if len(digits) < n_digits or (char == "x" and digits > "7f"):
                raise self.error(f"\\{char}{digits} is no code point; \\x{{...}} takes any")
            return self._character(digits)
        if char.isascii() and char.isalnum() and char not in _PLAIN_LETTERS:
            raise self.error(f"\\{char} is not supported here")
        return char

    def error(self, why: str) -> TokenizerError:
        """Return the error of a pattern that cannot be used."""
        pattern = self.pattern[:_MAX_SHOWN] + "..." * (len(self.pattern) > _MAX_SHOWN)
        return TokenizerError(
            f"the vocabulary's pattern {pattern!r} cannot be used: {why} (before character "
            f"{self.at})"
        )

    def _character(self, digits: str) -> str:
        if digits and _HEX.issuperset(digits) and len(digits) <= 8:
            code_point = int(digits, 16)
            if code_point <= LIMIT and not 0xD800 <= code_point < 0xE000:
                return chr(code_point)
        raise self.error(f"{digits!r} is no code point")
