"""Patterns and formats of JSON strings, as GBNF."""

from __future__ import annotations

from ..errors import GrammarError
from .expressions import LAST_CODE_POINT, Ranges, inverted, merged
from .schema_text import bounds, choice, intersection, literal, string_char

_TIME = (
    '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? '
    '("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
)
_DATE = (
    '[1-9] [0-9]{3} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01]) | '
    '("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | '
    '"02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))'
)
_BYTE = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9]{2} | [1-9]? [0-9])'
_LABEL = "[a-zA-Z0-9] ([a-zA-Z0-9-]{0,40} [a-zA-Z0-9])?"

# What is written is always of the format; not all that is of the format can be written.
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f'{_DATE} "T" {_TIME}',
    "uuid": 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
    "email": f'[a-zA-Z0-9_]+ ([-.+] [a-zA-Z0-9_]+)* "@" {_LABEL} ("." {_LABEL})* "." [a-z]{{2,10}}',
    "ipv4": f'{_BYTE} "." {_BYTE} "." {_BYTE} "." {_BYTE}',
    "hostname": f'{_LABEL} ("." {_LABEL}){{0,3}}',
}

_ALL: Ranges = ((0, LAST_CODE_POINT),)
_ASCII: Ranges = ((0, 0x7F),)
_CLASSES: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0D), (0x20, 0x20)),
}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_MOST_REPETITIONS = 10_000
_DEEPEST = 50


def pattern(regex: str) -> str:
    """Strings, without their quotes, in which a regular expression of ECMA-262 matches.

    Raises:
        GrammarError: it is wrong, or has what a grammar cannot say: references back, assertions.
    """
    return _Pattern(regex).read()


class _Pattern:
    def __init__(self, regex: str) -> None:
        self._regex = regex
        self._at = 0
        self._depth = 0

    def read(self) -> str:
        options = [self._anchored()]
        while self._take("|"):
            options.append(self._anchored())
        if self._at < len(self._regex):
            raise self._error("unexpected )")
        return choice(options)

    def _anchored(self) -> str:
        """An alternative that may stand anywhere in the string, unless ^ and $ hold it."""
        before = "" if self._take("^") else "char* "
        middle = self._sequence()
        behind = "" if self._take("$") else " char*"
        if self._at < len(self._regex) and self._regex[self._at] not in "|)":
            raise self._error("$ can only stand at the end")
        return f"({before}{middle}{behind})"

    def _sequence(self) -> str:
        items = []
        while self._at < len(self._regex) and self._regex[self._at] not in "|)$":
            items.append(self._repeated(self._item()))
        return " ".join(items) or literal("")

    def _item(self) -> str:
        if self._take("("):
            return self._group()
        if self._take("["):
            return string_char(self._char_class())
        if self._take("."):
            return string_char(inverted(_LINE_ENDS))
        if self._take("\\"):
            return string_char(self._escape())
        char = self._regex[self._at]
        if char in "^*+?{":
            raise self._error("a ^ inside or a repetition of nothing")
        self._at += 1
        return string_char(((ord(char), ord(char)),))

    def _group(self) -> str:
        if self._take("?") and not self._take(":"):
            raise self._error("assertions and named groups are not supported")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("too many groups inside of each other")
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        if not self._take(")"):
            raise self._error("expected ), or $ stands inside of a group")
        self._depth -= 1
        return f"({' | '.join(options)})"

    def _repeated(self, item: str) -> str:
        times = None
        if self._take("*"):
            times = bounds(0, None)
        elif self._take("+"):
            times = bounds(1, None)
        elif self._take("?"):
            times = bounds(0, 1)
        elif self._take("{"):
            times = self._times()
        if times is None:
            return item
        self._take("?")  # a lazy one matches in the same strings
        return item + times

    def _times(self) -> str:
        end = self._regex.find("}", self._at)
        parts = self._regex[self._at : max(end, 0)].split(",")
        numbers = [int(p) if p.isdecimal() and len(p) < 9 else None for p in parts]
        least = numbers[0]
        open_end = len(parts) == 2 and not parts[1]
        most = None if open_end else numbers[-1]
        wrong = len(parts) > 2 or least is None or (most is None and not open_end)
        if wrong or least is None or max(least, most or 0) > _MOST_REPETITIONS:
            raise self._error("a number of repetitions is wrong or too large")
        if most is not None and most < least:
            raise self._error("the most repetitions are fewer than the least")
        self._at = end + 1
        return bounds(least, most)

    def _char_class(self) -> Ranges:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        has_classes = False
        while not self._take("]"):
            low = self._class_part()
            has_classes = has_classes or not _is_single(low)
            rest = self._regex[self._at : self._at + 2]
            if rest.startswith("-") and rest != "-]" and _is_single(low):
                self._at += 1
                high = self._class_part()
                if not _is_single(high) or high[0][0] < low[0][0]:
                    raise self._error("a range of characters runs backwards")
                low = ((low[0][0], high[0][0]),)
            ranges += low
        found = merged(ranges)
        if not negated:
            return found
        # dialects differ in which characters beyond ASCII are letters, digits and spaces
        return intersection(inverted(found), _ASCII if has_classes else _ALL)

    def _class_part(self) -> Ranges:
        if self._at >= len(self._regex):
            raise self._error("a class of characters has no end")
        if self._take("\\"):
            return self._escape(in_class=True)
        self._at += 1
        code = ord(self._regex[self._at - 1])
        return ((code, code),)

    def _escape(self, in_class: bool = False) -> Ranges:
        if self._at >= len(self._regex):
            raise self._error("a \\ at the end")
        char = self._regex[self._at]
        self._at += 1
        if char in _CLASSES:
            return _CLASSES[char]
        if char.lower() in _CLASSES:
            return intersection(inverted(_CLASSES[char.lower()]), _ASCII)
        if char in _CONTROLS:
            code = _CONTROLS[char]
        elif char in "xu":
            n_digits = 2 if char == "x" else 4
            digits = self._regex[self._at : self._at + n_digits]
            if len(digits) < n_digits or not all(d in "0123456789abcdefABCDEF" for d in digits):
                raise self._error("expected hexadecimal digits")
            self._at += n_digits
            code = int(digits, 16)
        elif char == "b" and in_class:
            code = 8
        elif char.isascii() and not char.isalnum():
            code = ord(char)
        else:
            raise self._error(f"\\{char} is not supported")
        return ((code, code),)

    def _take(self, text: str) -> bool:
        found = self._regex.startswith(text, self._at)
        if found:
            self._at += len(text)
        return found

    def _error(self, message: str) -> GrammarError:
        return GrammarError(f"in the pattern {self._regex!r}, at {self._at}: {message}")


def _is_single(ranges: Ranges) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]
