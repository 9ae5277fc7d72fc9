r"""Regular expressions with Unicode classes (\p{L}, \s, ...) for Python's re.

Vocabularies split text with patterns in Oniguruma's syntax (tokenizer.json, llama.cpp). Python's re
has no \p{...}, and its \s and \d follow other definitions; so classes are written out as ranges.
A pattern is compiled up to three times, each when first needed: for ASCII text, for text of the
Basic Multilingual Plane, and for all text; the smaller the classes, the faster they match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import TokenizerError

if TYPE_CHECKING:
    import re

_ASCII, _BMP, _ALL = 0x7F, 0xFFFF, 0x10FFFF
_ANY = "[\\x00-\U0010ffff]"
_NONE = "(?!)"

Ranges = list[tuple[int, int]]


class UnicodeRegex:
    r"""A pattern in Oniguruma's syntax, which may use \p{...}.

    Raises:
        TokenizerError: the pattern cannot be translated.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._compiled: dict[int, re.Pattern[str]] = {}
        self._for(_ASCII)  # a broken pattern is an error now, not at the first text

    def split(self, text: str) -> list[str]:
        """What lies between matches (even indices) and the matches (odd indices)."""
        return self._regex(text).split(text)

    def replace(self, text: str, content: str) -> str:
        """The text with each match replaced."""
        return self._regex(text).sub(lambda _: content, text)

    def _regex(self, text: str) -> re.Pattern[str]:
        if text.isascii():
            return self._for(_ASCII)
        return self._for(_BMP if max(text) <= "\uffff" else _ALL)

    def _for(self, last: int) -> re.Pattern[str]:
        regex = self._compiled.get(last)
        if regex is None:
            import re

            try:
                regex = re.compile(f"({_Translator(self._pattern, last).run()})", re.MULTILINE)
            except (re.error, OverflowError, RecursionError) as error:
                raise TokenizerError(
                    f"the vocabulary's pattern {self._pattern!r} cannot be used: {error}"
                ) from error
            self._compiled[last] = regex
        return regex


class _Translator:
    """Rewrites one pattern; `last` is the greatest code point that its texts hold."""

    def __init__(self, pattern: str, last: int) -> None:
        self._pattern = pattern
        self._last = last
        self._at = 0

    def run(self) -> str:
        out = []
        while self._at < len(self._pattern):
            char = self._next()
            if char == "\\":
                out.append(self._escape())
            elif char == "[":
                out.append(self._set())
            elif char == "(" and not self._pattern.startswith("?", self._at):
                out.append("(?:")  # the whole pattern shall be the only group
            else:
                out.append(char)
        return "".join(out)

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise self._unsupported("it ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _escape(self) -> str:
        """After a backslash, outside of brackets."""
        char = self._next()
        ranges = self._class(char)
        if ranges is not None:
            body = _body(ranges)
            return f"[{body}]" if body else _NONE
        if char == "z":
            return r"\Z"
        if char == "Z":
            return r"(?=\n?\Z)"
        if char == "A":
            return r"\A"
        if char in "bB":
            word = f"[{_body(self._named(_SHORTHANDS['w']))}]"
            inner = f"(?:(?<={word})(?={word})|(?<!{word})(?!{word}))"
            outer = f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))"
            return outer if char == "b" else inner
        return _literal(self._character(char))

    def _set(self) -> str:
        """After an opening bracket."""
        negated = self._pattern.startswith("^", self._at)
        self._at += negated
        body = ""
        first = True
        while True:
            char = self._next()
            if char == "]" and not first:
                break
            first = False
            if char == "[" or (char == "&" and self._pattern.startswith("&", self._at)):
                raise self._unsupported("nested sets are not supported")
            if char == "\\":
                char = self._next()
                ranges = self._class(char)
                body += _body(ranges) if ranges is not None else _literal(self._character(char))
            elif char == "-":
                is_range = body and not self._pattern.startswith("]", self._at)
                body += "-" if is_range else r"\-"
            else:
                body += _literal(char)
        if not body:
            return _ANY if negated else _NONE
        return f"[^{body}]" if negated else f"[{body}]"

    def _class(self, char: str) -> Ranges | None:
        """The code points of an escape such as d or p{L}; None if it is no class."""
        if char in "sdw":
            return self._named(_SHORTHANDS[char])
        if char in "SDW":
            return self._named("^" + _SHORTHANDS[char.lower()])
        if char == "p":
            return self._named(self._braces())
        if char == "P":
            return self._named("^" + self._braces())
        return None

    def _named(self, name: str) -> Ranges:
        """The code points of a class, up to `last`; each leading ^ is a complement."""
        plain = name.lstrip("^")
        try:
            ranges = _ASCII_CLASSES.get(plain) if self._last == _ASCII else None
            if ranges is None:
                ranges = _named_class(plain)
        except KeyError:
            raise self._unsupported(f"the class {plain!r} is not known") from None
        if (len(name) - len(plain)) % 2:
            ranges = _complement(ranges)
        return [(first, min(last, self._last)) for first, last in ranges if first <= self._last]

    def _character(self, char: str) -> str:
        """The character that an escape stands for."""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x" and self._pattern.startswith("{", self._at):
            return self._hexadecimal(self._braces())
        if char in "xu":
            n_digits = 2 if char == "x" else 4
            self._at += n_digits
            return self._hexadecimal(self._pattern[self._at - n_digits : self._at])
        if char.isalnum():
            raise self._unsupported(f"\\{char} is not supported")
        return char

    def _hexadecimal(self, digits: str) -> str:
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise self._unsupported(f"{digits!r} is no code point") from None

    def _braces(self) -> str:
        end = self._pattern.find("}", self._at)
        if not self._pattern.startswith("{", self._at) or end < 0:
            raise self._unsupported("braces are missing")
        name = self._pattern[self._at + 1 : end]
        self._at = end + 1
        return name

    def _unsupported(self, why: str) -> TokenizerError:
        return TokenizerError(f"the vocabulary's pattern {self._pattern!r} cannot be used: {why}")


_CONTROLS = {"r": "\r", "n": "\n", "t": "\t", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_SHORTHANDS = {"s": "White_Space", "d": "Nd", "w": "word"}
_WHITE_SPACE: Ranges = [
    (0x09, 0x0D),
    (0x20, 0x20),
    (0x85, 0x85),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
]
WHITE_SPACE = "".join(chr(c) for first, last in _WHITE_SPACE for c in range(first, last + 1))
_GROUPS = {
    "L": ("Lu", "Ll", "Lt", "Lm", "Lo"),
    "M": ("Mn", "Mc", "Me"),
    "N": ("Nd", "Nl", "No"),
    "P": ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    "S": ("Sm", "Sc", "Sk", "So"),
    "Z": ("Zs", "Zl", "Zp"),
}
# the same, so that ASCII text needs no tables
_ASCII_CLASSES: dict[str, Ranges] = {
    "L": [(0x41, 0x5A), (0x61, 0x7A)],
    "Lu": [(0x41, 0x5A)],
    "Ll": [(0x61, 0x7A)],
    "N": [(0x30, 0x39)],
    "Nd": [(0x30, 0x39)],
    "Lt": [],
    "Lm": [],
    "Lo": [],
    "M": [],
    "P": [
        (0x21, 0x23),
        (0x25, 0x2A),
        (0x2C, 0x2F),
        (0x3A, 0x3B),
        (0x3F, 0x40),
        (0x5B, 0x5D),
        (0x5F, 0x5F),
        (0x7B, 0x7B),
        (0x7D, 0x7D),
    ],
    "S": [
        (0x24, 0x24),
        (0x2B, 0x2B),
        (0x3C, 0x3E),
        (0x5E, 0x5E),
        (0x60, 0x60),
        (0x7C, 0x7C),
        (0x7E, 0x7E),
    ],
    "word": [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)],
    "numeric": [(0x30, 0x39)],
    "unnormalized": [],
    "stripped_accent": [],
    "stripped_by_bert": [],
}
_cache: dict[str, Ranges] = {"White_Space": _WHITE_SPACE}


def _named_class(name: str) -> Ranges:
    found = _cache.get(name)
    if found is None:
        if name in _GROUPS:
            found = _union([_named_class(part) for part in _GROUPS[name]])
        elif name == "C":
            assigned = [_named_class(group) for group in _GROUPS]
            found = _complement(_union(assigned))
        else:
            from .unicode_ranges import RANGES

            found = _decode(RANGES[name])
        _cache[name] = found
    return found


def _decode(text: str) -> Ranges:
    ranges = []
    end = 0
    for word in text.split():
        gap, _, length = word.partition(",")
        first = end + int(gap, 36)
        last = first + int(length or "0", 36)
        ranges.append((first, last))
        end = last + 1
    return ranges


def _union(parts: list[Ranges]) -> Ranges:
    merged: Ranges = []
    for first, last in sorted(range_ for part in parts for range_ in part):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _complement(ranges: Ranges) -> Ranges:
    gaps = []
    start = 0
    for first, last in ranges:
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= _ALL:
        gaps.append((start, _ALL))
    return gaps


def _body(ranges: Ranges) -> str:
    """The ranges as they stand between brackets."""
    return "".join(
        _literal(chr(first)) + ("" if first == last else "-" + _literal(chr(last)))
        for first, last in ranges
    )


def _literal(char: str) -> str:
    return char if char.isalnum() or ord(char) > _ASCII else f"\\x{ord(char):02x}"


Splitter = Callable[[str], list[str]]


def isolating_splitter(patterns: tuple[str, ...]) -> Splitter:
    """Splits by each pattern in turn; both the matches and what lies between them are pieces."""
    regexes = [UnicodeRegex(pattern) for pattern in patterns]

    def split(text: str) -> list[str]:
        pieces = [text]
        for regex in regexes:
            pieces = [part for piece in pieces for part in regex.split(piece) if part]
        return pieces

    return split
