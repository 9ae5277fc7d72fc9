"""Regular expressions of ECMA-262, as JSON Schema's `pattern` has them, as trees.

Dialects differ in what is a digit, a letter, a space or the end of a line, and validators in the
dialect that they use. So a set of characters is two: those that are in it in every dialect, and
those that are in it in any. What is written stays within the first; what must not be written is
the second.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

from ...errors import GrammarError
from ..expressions import LAST_CODE_POINT, Ranges, intersection, inverted, merged

MAX_REPETITIONS = 100_000
_MAX_DEPTH = 50
_MAX_LENGTH = 100_000


class Set(NamedTuple):
    """One character: of `inner` in every dialect, of `outer` in any."""

    inner: Ranges
    outer: Ranges


class Seq(NamedTuple):
    """One part after the other."""

    parts: tuple[Regex, ...]


class Alt(NamedTuple):
    """Any of the options."""

    options: tuple[Regex, ...]


class Times(NamedTuple):
    """A part `least` to `most` times; None is no bound."""

    part: Regex
    least: int
    most: int | None


class At(NamedTuple):
    """A place: "^" the start, "$" the end, "b" between a word and what is none, "B" elsewhere."""

    place: str


class Ahead(NamedTuple):
    """A place after which `part` follows, or must not."""

    part: Regex
    negative: bool


Regex = Set | Seq | Alt | Times | At | Ahead

_NOT_ASCII: Ranges = ((0x80, LAST_CODE_POINT),)
_DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACES: Ranges = ((0x09, 0x0D), (0x20, 0x20))
_CLASSES = {
    "d": Set(_DIGITS, merged([*_DIGITS, *_NOT_ASCII])),
    "w": Set(WORD, merged([*WORD, *_NOT_ASCII])),
    "s": Set(_SPACES, merged([*_SPACES, (0x1C, 0x1F), *_NOT_ASCII])),
}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_ANY = Set(inverted(((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))), inverted(((0x0A, 0x0A),)))
# What has the same letter in some other case, though it is not ASCII.
_FOLDED = {"k": 0x212A, "s": 0x17F, "i": 0x130}


@lru_cache(256)
def parse_regex(text: str) -> Regex:
    """Return what a pattern means.

    Raises:
        GrammarError: it is wrong, or has what a finite automaton cannot say.
    """
    if len(text) > _MAX_LENGTH:
        raise GrammarError(f"a pattern has {len(text)} characters; at most {_MAX_LENGTH}")
    return _Parser(text).read()


def lengths(regex: Regex) -> tuple[int, int | None]:
    """Return the fewest and the most characters that a regex matches; None is no bound."""
    match regex:
        case Set():
            return 1, 1
        case Seq(parts):
            found = [lengths(part) for part in parts]
            mosts = [most for _, most in found if most is not None]
            return (
                sum(least for least, _ in found),
                sum(mosts) if len(mosts) == len(found) else None,
            )
        case Alt(options):
            found = [lengths(option) for option in options]
            mosts = [most for _, most in found if most is not None]
            return (
                min(least for least, _ in found),
                max(mosts) if len(mosts) == len(found) else None,
            )
        case Times(part, least, most):
            shortest, longest = lengths(part)
            endless = longest != 0 and (longest is None or most is None)
            return shortest * least, None if endless else (longest or 0) * (most or 0)
    return 0, 0


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._any_case = self._take("(?i)")

    def read(self) -> Regex:
        """Read the whole text."""
        found = self._alternatives()
        if self._at < len(self._text):
            raise self._error("unexpected )")
        return found

    def _alternatives(self) -> Regex:
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Alt(tuple(options))

    def _sequence(self) -> Regex:
        parts: list[Regex] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._part()))
        return parts[0] if len(parts) == 1 else Seq(tuple(parts))

    def _part(self) -> Regex:
        if self._take("("):
            return self._group()
        if self._take("["):
            return self._folded(self._char_class())
        if self._take("."):
            return _ANY
        if self._take("^"):
            return At("^")
        if self._take("$"):
            return At("$")
        if self._take("\\"):
            place = self._text[self._at : self._at + 1]
            if place and place in "bBAZ":
                self._at += 1
                return At("^" if place == "A" else place)
            return self._folded(self._escape())
        char = self._text[self._at]
        if char in "*+?":
            raise self._error("a repetition of nothing")
        self._at += 1
        return self._folded(_single(ord(char)))

    def _group(self) -> Regex:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error("too many groups inside of each other")
        negative = None
        if self._take("?"):
            if self._take("=") or self._take("!"):
                negative = self._text[self._at - 1] == "!"
            elif self._take("<=") or self._take("<!"):
                raise self._error("assertions that look back are not supported")
            elif self._take("<") or self._take("P<"):
                end = self._text.find(">", self._at)
                if not self._text[self._at : max(end, 0)].isidentifier():
                    raise self._error("a group's name is wrong")
                self._at = end + 1
            elif not self._take(":"):
                raise self._error("this kind of group is not supported")
        part = self._alternatives()
        if not self._take(")"):
            raise self._error("expected )")
        self._depth -= 1
        if negative is not None:
            return Ahead(part, negative)
        # a place in a group may be repeated, though that changes nothing
        return Seq((part,)) if isinstance(part, (At, Ahead)) else part

    def _repeated(self, part: Regex) -> Regex:
        if self._take("*"):
            times: tuple[int, int | None] | None = (0, None)
        elif self._take("+"):
            times = (1, None)
        elif self._take("?"):
            times = (0, 1)
        else:
            times = self._times()
        if times is None:
            return part
        if isinstance(part, (At, Ahead)):
            raise self._error("a repetition of nothing")
        self._take("?")  # a lazy one matches in the same texts
        return Times(part, *times)

    def _times(self) -> tuple[int, int | None] | None:
        """Read {n}, {n,} or {n,m}; any other brace is a character."""
        end = self._text.find("}", self._at) if self._text.startswith("{", self._at) else -1
        parts = self._text[self._at + 1 : max(end, 0)].split(",")
        if not parts[-1] and len(parts) == 2:
            parts[1] = parts[0]
            open_end = True
        else:
            open_end = False
        if end < 0 or len(parts) > 2 or not all(p.isdecimal() and p.isascii() for p in parts):
            if end > 0 and len(parts) == 2 and not parts[0] and parts[1].isdecimal():
                raise self._error("repetitions without a lower bound are not supported")
            return None
        if any(len(p) > 9 or int(p) > MAX_REPETITIONS for p in parts):
            raise self._error(f"more than {MAX_REPETITIONS} repetitions")
        least, most = int(parts[0]), int(parts[-1])
        if most < least:
            raise self._error("the most repetitions are fewer than the least")
        self._at = end + 1
        return least, None if open_end else most

    def _char_class(self) -> Set:
        negated = self._take("^")
        inner: list[tuple[int, int]] = []
        outer: list[tuple[int, int]] = []
        while not self._take("]"):
            part = self._class_part()
            rest = self._text[self._at : self._at + 2]
            if rest.startswith("-") and rest != "-]" and _is_single(part):
                self._at += 1
                high = self._class_part()
                if not _is_single(high):
                    # a class cannot end a range, so all three stand for themselves
                    inner += [*high.inner, (0x2D, 0x2D)]
                    outer += [*high.outer, (0x2D, 0x2D)]
                elif high.inner[0][0] < part.inner[0][0]:
                    raise self._error("a range of characters runs backwards")
                else:
                    ranges = ((part.inner[0][0], high.inner[0][0]),)
                    part = Set(ranges, ranges)
            inner += part.inner
            outer += part.outer
        if negated:
            folded = self._folded(Set(merged(inner), merged(outer)))
            return Set(inverted(folded.outer), inverted(folded.inner))
        return Set(merged(inner), merged(outer))

    def _class_part(self) -> Set:
        if self._at >= len(self._text):
            raise self._error("a class of characters has no end")
        if self._take("\\"):
            return self._escape(in_class=True)
        self._at += 1
        return _single(ord(self._text[self._at - 1]))

    def _escape(self, in_class: bool = False) -> Set:
        if self._at >= len(self._text):
            raise self._error("a \\ at the end")
        char = self._text[self._at]
        self._at += 1
        if char in _CLASSES:
            return _CLASSES[char]
        if char.lower() in _CLASSES:
            found = _CLASSES[char.lower()]
            return Set(inverted(found.outer), inverted(found.inner))
        if char in "pP":
            return self._property(char == "P")
        if char in _CONTROLS and not self._text[self._at : self._at + 1].isdecimal():
            return _single(_CONTROLS[char])
        if char in "xu":
            return _single(self._code(char))
        if char == "b" and in_class:
            return _single(8)
        if not char.isascii() or char.isalnum():
            raise self._error(f"\\{char} is not supported")
        return _single(ord(char))

    def _code(self, kind: str) -> int:
        """Read the digits of \\xhh, \\uhhhh or \\u{h}, two halves of a surrogate pair as one."""
        end = self._text.find("}", self._at)
        if kind == "u" and self._take("{") and end > 0:
            digits, self._at = self._text[self._at : end], end + 1
        else:
            n_digits = 2 if kind == "x" else 4
            digits = self._text[self._at : self._at + n_digits]
            self._at += n_digits
            digits = digits if len(digits) == n_digits else ""
        if not digits or len(digits) > 6 or not all(d in "0123456789abcdefABCDEF" for d in digits):
            raise self._error("expected hexadecimal digits")
        code = int(digits, 16)
        if kind == "u" and 0xD800 <= code < 0xDC00 and self._take("\\u"):
            low = self._code("")
            if 0xDC00 <= low < 0xE000:
                return 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00
            raise self._error("half of a surrogate pair")
        if code > LAST_CODE_POINT:
            raise self._error("there is no such character")
        return code

    def _property(self, negated: bool) -> Set:
        end = self._text.find("}", self._at)
        if not self._take("{") or end < 0:
            raise self._error("expected {, as in \\p{L}")
        name, self._at = self._text[self._at : end], end + 1
        found = _property_set(name.removeprefix("General_Category=").removeprefix("gc="))
        if found is None:
            raise self._error(f"the property {name!r} of characters is not supported")
        ranges = inverted(found) if negated else found
        return Set(ranges, ranges)

    def _folded(self, chars: Set) -> Set:
        """The characters in either case, if the pattern begins with (?i)."""
        if not self._any_case:
            return chars
        inner, outer = list(chars.inner), list(chars.outer)
        for low, high in intersection(chars.outer, ((0x41, 0x5A), (0x61, 0x7A))):
            outer += [(low ^ 0x20, high ^ 0x20)]
            outer += [(c, c) for char, c in _FOLDED.items() if low <= ord(char) | 0x20 <= high]
            outer += [(c, c) for char, c in _FOLDED.items() if low <= ord(char) & ~0x20 <= high]
        for low, high in intersection(chars.inner, ((0x41, 0x5A), (0x61, 0x7A))):
            inner += [(low ^ 0x20, high ^ 0x20)]
        if any(high >= 0x80 for _, high in outer):
            outer += _NOT_ASCII
        return Set(merged(inner), merged(outer))

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        if found:
            self._at += len(text)
        return found

    def _error(self, message: str) -> GrammarError:
        text = self._text if len(self._text) <= 200 else f"{self._text[:200]}..."
        return GrammarError(f"in the pattern {text!r}, at {self._at}: {message}")


def _single(code: int) -> Set:
    return Set(((code, code),), ((code, code),))


def _is_single(chars: Set) -> bool:
    return len(chars.inner) == 1 and chars.inner[0][0] == chars.inner[0][1]


_LONG_NAMES = {
    "Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt",
    "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Number": "N",
    "Decimal_Number": "Nd", "Letter_Number": "Nl", "Other_Number": "No", "Punctuation": "P",
    "Symbol": "S", "Separator": "Z", "Space_Separator": "Zs", "Other": "C", "Control": "Cc",
}  # fmt: skip


@cache
def _property_set(name: str) -> Ranges | None:
    """The characters of a general category; None if there is no such category."""
    name = _LONG_NAMES.get(name, name)
    if name == "ASCII":
        return ((0, 0x7F),)
    if name == "Any":
        return ((0, LAST_CODE_POINT),)
    codes = [
        code
        for code in range(LAST_CODE_POINT + 1)
        if unicodedata.category(chr(code)).startswith(name)
    ]
    if not name or not codes:
        return None
    found: list[tuple[int, int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return tuple(found)
