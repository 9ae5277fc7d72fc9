"""Reads grammars in GBNF, as llama.cpp defines it.

https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import re
from functools import cache

from ..errors import GrammarError
from .expressions import (
    LAST_CODE_POINT,
    Chars,
    Choice,
    Expression,
    Once,
    Reference,
    Repeat,
    Sequence,
    Token,
    inverted,
    merged,
)

_MAX_LENGTH = 16 << 20
_MAX_DEPTH = 1000
# parentheses inside of each other that are one expression
_MAX_NESTED = 32
_MAX_SUFFIXES = 100
_MAX_REPETITIONS = 100_000

# A comment that is a mark is no space.
_SPACE = re.compile(r"(?:[ \t]|#(?!once \d)[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#(?!once \d)[^\r\n]*)*")
_ONCE = re.compile(r"#once (\d{1,6})(?:\r?\n|$)")
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_BOUNDS = re.compile(r"\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}")
_ESCAPED = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_TOKEN = re.compile(r"(!?)(<(?:\[(\d{1,9})\]|[^>\[\r\n][^>\r\n]*)>)")
_CLASS = re.compile(r"(?:[^]\\]|\\.)*\]")
_PLAIN = re.compile(r'[^"\\\r\n]+')
_REPEATED = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_SINGLE = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}
_ANY = Chars(((0, LAST_CODE_POINT),))


def parse_gbnf(text: str) -> dict[str, Expression]:
    """Return the rules of a grammar by name; `root` is where a text begins.

    Raises:
        GrammarError: the text is no GBNF, or lacks a rule that it refers to.
    """
    text = text.removeprefix("\ufeff")  # a byte order mark
    if len(text) > _MAX_LENGTH:
        raise GrammarError(f"the grammar has {len(text)} characters; at most {_MAX_LENGTH}")
    parser = _Parser(text)
    rules = parser.rules()
    if "root" not in rules:
        raise GrammarError("the grammar has no rule `root`, where a text begins")
    for name in parser.references:
        if name not in rules:
            raise GrammarError(f"the grammar refers to a rule {name!r} that it does not define")
    return rules


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._rules: dict[str, Expression] = {}
        self._classes: dict[str, Chars] = {}
        self.references: set[str] = set()

    def rules(self) -> dict[str, Expression]:
        """Read the whole text."""
        rules = self._rules
        self._skip(_SPACE_AND_LINES)
        while self._at < len(self._text):
            name = self._name("a rule's name")
            self._skip(_SPACE)
            if not self._take("::="):
                raise self._error("expected ::= after the rule's name")
            self._skip(_SPACE_AND_LINES)
            if name in rules:
                raise self._error(f"the rule {name!r} is defined twice")
            rules[name] = self._body(name)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                raise self._error("expected the end of the rule")
            self._skip(_SPACE_AND_LINES)
        return rules

    def _body(self, rule: str) -> Expression:
        """Read a rule's alternatives; only inside of parentheses may they go over several lines."""
        # the alternatives and the items of the last one, for the rule and each open parenthesis
        groups: list[tuple[list[Expression], list[Expression]]] = [([], [])]
        while True:
            options, items = groups[-1]
            item: Expression | None
            char = self._text[self._at : self._at + 1]
            if char == "(":
                self._at += 1
                if len(groups) > _MAX_DEPTH:
                    raise self._error(f"more than {_MAX_DEPTH} parentheses inside of each other")
                self._skip(_SPACE_AND_LINES)
                groups.append(([], []))
                continue
            if char == "|":
                self._at += 1
                self._skip(_SPACE_AND_LINES)
                options.append(_sequence(items))
                items.clear()
                continue
            if len(groups) > 1 and char == ")":
                self._at += 1
                item = self._group(rule, *groups.pop(), len(groups))
            else:
                item = self._item(char)
            if item is None:
                if len(groups) > 1:
                    raise self._error("expected )")
                return _choice([*options, _sequence(items)])
            space = _SPACE_AND_LINES if len(groups) > 1 else _SPACE
            self._skip(space)
            groups[-1][1].append(self._repeated(item, space))

    def _group(
        self, rule: str, options: list[Expression], items: list[Expression], depth: int
    ) -> Expression:
        group = _choice([*options, _sequence(items)])
        if depth % _MAX_NESTED:
            return group
        # a rule of its own, so that what reads expressions need not be as deep
        name = f"{rule} ({len(self._rules)})"
        self._rules[name] = group
        return Reference(name)

    def _item(self, char: str) -> Expression | None:
        """Read what a character begins; None if it begins nothing."""
        if char in ('"', "[", "."):
            self._at += 1
            if char == ".":
                return _ANY
            return self._literal() if char == '"' else self._char_class()
        if char == "#" and (once := _ONCE.match(self._text, self._at)):
            self._at = once.end()
            return Once(int(once[1]))
        if char in ("<", "!"):
            return self._token()
        if _NAME.match(self._text, self._at):
            name = self._name("a rule's name")
            self.references.add(name)
            return Reference(name)
        return None

    def _token(self) -> Expression:
        token = _TOKEN.match(self._text, self._at)
        if not token:
            raise self._error("expected a token, as in <think>, <[12]> or !<think>")
        self._at = token.end()
        return Token(int(token[3]) if token[3] else token[2], bool(token[1]))

    def _literal(self) -> Expression:
        chars: list[Expression] = []
        while not self._take('"'):
            if plain := _PLAIN.match(self._text, self._at):
                self._at = plain.end()
                chars += map(_char, plain[0])
            else:
                chars.append(_char(chr(self._code_point())))
        return Sequence(tuple(chars))

    def _char_class(self) -> Expression:
        # large grammars have few classes, many times each
        found = _CLASS.match(self._text, self._at)
        text = found[0] if found else ""
        if text in self._classes:
            self._at += len(text)
        else:
            self._classes[text] = self._read_class()
        return self._classes[text]

    def _read_class(self) -> Chars:
        negated = self._take("^")
        ranges = []
        while not self._take("]"):
            low = high = self._code_point()
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._code_point()
            if high < low:
                raise self._error("a range of characters runs backwards")
            ranges.append((low, high))
        found = merged(ranges)
        return Chars(inverted(found) if negated else found)

    def _code_point(self) -> int:
        if self._at >= len(self._text) or self._text[self._at] in "\r\n":
            raise self._error("a literal or class of characters has no end")
        char = self._text[self._at]
        self._at += 1
        if char != "\\":
            return ord(char)
        if escaped := _ESCAPED.match(self._text, self._at):
            self._at = escaped.end()
            code = int(escaped[escaped.lastindex or 0], 16)
            if code > LAST_CODE_POINT or 0xD800 <= code <= 0xDFFF:
                raise self._error(f"there is no character U+{code:04X}")
            return code
        single = _SINGLE.get(self._text[self._at : self._at + 1])
        if single is None:
            raise self._error("unknown escape")
        self._at += 1
        return ord(single)

    def _repeated(self, item: Expression, space: re.Pattern[str]) -> Expression:
        """Return the item with the repetitions that follow it."""
        n_suffixes = 0
        while (char := self._text[self._at : self._at + 1]) in _REPEATED or char == "{":
            if char == "{":
                item = self._bounded(item)
            else:
                item = Repeat(item, *_REPEATED[char])
                self._at += 1
            n_suffixes += 1
            if n_suffixes > _MAX_SUFFIXES:
                raise self._error(f"more than {_MAX_SUFFIXES} repetitions of a repetition")
            self._skip(space)
        return item

    def _bounded(self, item: Expression) -> Expression:
        bounds = _BOUNDS.match(self._text, self._at)
        if not bounds or not (bounds[1] or (bounds[2] and bounds[3])):
            raise self._error("expected {n}, {n,}, {n,m} or {,m}")
        if len(bounds[0]) > 40:
            raise self._error("a number of repetitions is too large")
        least = int(bounds[1] or 0)
        most = int(bounds[3]) if bounds[3] else None if bounds[2] else least
        if max(least, most or 0) > _MAX_REPETITIONS:
            raise self._error(f"more than {_MAX_REPETITIONS} repetitions")
        if most is not None and most < least:
            raise self._error("the most repetitions are fewer than the least")
        self._at = bounds.end()
        return Repeat(item, least, most)

    def _name(self, what: str) -> str:
        name = _NAME.match(self._text, self._at)
        if not name:
            raise self._error(f"expected {what}")
        self._at = name.end()
        return name[0]

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        if found:
            self._at += len(text)
        return found

    def _skip(self, space: re.Pattern[str]) -> None:
        found = space.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _error(self, message: str) -> GrammarError:
        line = self._text.count("\n", 0, self._at) + 1
        near = self._text[self._at : self._at + 20].split("\n")[0]
        return GrammarError(f"line {line} of the grammar, at {near!r}: {message}")


@cache
def _char(char: str) -> Chars:
    return Chars(((ord(char), ord(char)),))


def _sequence(items: list[Expression]) -> Expression:
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def _choice(options: list[Expression]) -> Expression:
    return options[0] if len(options) == 1 else Choice(tuple(options))
