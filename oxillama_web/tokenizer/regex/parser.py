r"""Parses patterns in Oniguruma's syntax, as Hugging Face tokenizers reads them.

The syntax: https://github.com/kkos/oniguruma/blob/master/doc/SYNTAX.md, for Ruby. Refused by name
are absent groups (?~...), conditions (?(...)...), callouts, comments, the option x, references by
name, within their group or to a group of two digits, calls \g<...>, octal and control escapes, \K,
\X, \y and \Y.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from .brackets import parse_bracket
from .case_folding import expanded_unit, single_characters, variants
from .code_points import ANY, Ranges, clipped, complement, of_character, union
from .nodes import (
    Anchor,
    Atomic,
    Choice,
    Group,
    Look,
    Mode,
    Node,
    Place,
    Reference,
    Repeat,
    Sequence,
    Set,
    lengths,
    walk,
)
from .properties import named_set
from .scanner import Scanner

_MAX_LENGTH = 5_000
_MAX_DEPTH = 80
_MAX_REPEAT = 100_000
_SPECIAL = frozenset("[(|)*+?.^$")
_PLACES: dict[str, Place] = {"A": "A", "z": "z", "Z": "Z", "b": "b", "B": "B", "G": "G"}
_NO_LITERALS = frozenset("pPsSdDwWhHbBAZzGKRNOXyYkg123456789")
_NEWLINE: Ranges = ((0x0A, 0x0A),)
_NEWLINES: Ranges = ((0x0A, 0x0D), (0x85, 0x85), (0x2028, 0x2029))
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
# prefix of a group; whether it looks behind, and for what must not come
_LOOKS = (("=", False, False), ("!", False, True), ("<=", True, False), ("<!", True, True))
_UNSUPPORTED_GROUPS = {
    "#": "comments",
    "~": "absent groups",
    "(": "conditions",
    "{": "callouts",
    "@": "capture histories",
}


def parse(pattern: str, limit: int) -> Node:
    """Return what a pattern means for texts of code points up to a limit.

    Raises:
        TokenizerError: the pattern is broken, or uses something that is not supported.
    """
    return _Parser(pattern, limit).parse()


class _Options(NamedTuple):
    ignore_case: bool = False
    dot_all: bool = False


class _Parser:
    def __init__(self, pattern: str, limit: int) -> None:
        self._scanner = Scanner(pattern)
        self._limit = limit
        self._n_groups = 0
        self._open_groups: set[int] = set()
        self._has_names = False

    def parse(self) -> Node:
        """Return the tree."""
        if len(self._scanner.pattern) > _MAX_LENGTH:
            raise self._scanner.error(f"it has more than {_MAX_LENGTH} characters")
        node = self._alternatives(_Options(), 0)
        if not self._scanner.at_end:
            raise self._scanner.error("a ) has no (")
        references = [part.group for part in walk(node) if isinstance(part, Reference)]
        if references and (self._has_names or max(references) > self._n_groups):
            raise self._scanner.error("it refers to a group that has a name or does not exist")
        return node

    def _alternatives(self, options: _Options, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self._scanner.error("it is nested too deeply")
        branches = [self._branch(options, depth)]
        while self._scanner.take("|"):
            branches.append(self._branch(options, depth))
        return _choice(branches)

    def _branch(self, options: _Options, depth: int) -> Node:
        scanner = self._scanner
        items: list[Node] = []
        while not (scanner.at_end or scanner.peek("|") or scanner.peek(")")):
            text = self._literal_text()
            if text:
                items += self._quantified_text(text, options)
            elif (changed := self._changed_options(options)) is not None:
                # they hold up to the end of the group, its other branches included
                items.append(self._alternatives(changed, depth + 1))
            else:
                items.append(self._quantified(self._atom(options, depth)))
        return _sequence(items)

    # literal text

    def _literal_text(self) -> str:
        """Return the characters that come next and stand for themselves."""
        text = ""
        while not self._scanner.at_end:
            start = self._scanner.at
            found = self._literal()
            if not found:
                self._scanner.at = start
                break
            text += found
        return text

    def _literal(self) -> str:
        scanner = self._scanner
        if scanner.peek("{"):
            is_interval = self._interval() is not None
            return "" if is_interval else scanner.next()
        char = scanner.next()
        if char == "\\":
            escaped = scanner.next()
            return "" if escaped in _NO_LITERALS else scanner.escaped_character(escaped)
        return "" if char in _SPECIAL else char

    def _quantified_text(self, text: str, options: _Options) -> list[Node]:
        """Return the nodes of a text; a quantifier after it is that of its last character."""
        start = self._scanner.at
        if self._quantifier() is None:
            return self._text(text, options)
        self._scanner.at = start
        last = _sequence(self._text(text[-1], options))
        return [*self._text(text[:-1], options), self._quantified(last)]

    def _text(self, text: str, options: _Options) -> list[Node]:
        if not options.ignore_case:
            return [self._set(of_character(char)) for char in text]
        nodes: list[Node] = []
        at = 0
        while at < len(text):
            length, expanded = 1, ""
            if self._limit > 0x7F or not text.isascii():
                length, expanded = expanded_unit(text, at)
            together = [
                self._set(variants(of_character(char), self._limit))
                for char in expanded or text[at]
            ]
            if expanded:
                single = self._set(single_characters(expanded))
                nodes.append(_choice([_sequence(together), single]))
            else:
                nodes += together
            at += length
        return nodes

    def _set(self, ranges: Ranges) -> Node:
        return Set(clipped(ranges, self._limit))

    # all that is no literal text

    def _atom(self, options: _Options, depth: int) -> Node:
        char = self._scanner.next()
        if char == ".":
            return self._set(ANY if options.dot_all else complement(_NEWLINE))
        if char in "^$":
            return Anchor("^" if char == "^" else "$")
        if char == "[":
            ranges, texts = parse_bracket(self._scanner, self._limit, options.ignore_case)
            others = [_sequence(self._text(text, options)) for text in texts]
            return _choice([Set(ranges), *others])
        if char == "(":
            return self._group(options, depth)
        if char == "\\":
            return self._escape(self._scanner.next(), options)
        raise self._scanner.error(f"there is nothing that {char!r} could repeat")

    def _escape(self, char: str, options: _Options) -> Node:
        scanner = self._scanner
        ranges = scanner.character_class(char, self._limit, in_brackets=False)
        if ranges is not None:
            return Set(ranges)
        if char in "bB":
            return Anchor(_PLACES[char], named_set("word", self._limit))
        if char in _PLACES:
            return Anchor(_PLACES[char])
        if char == "N":
            return self._set(complement(_NEWLINE))
        if char == "O":
            return self._set(ANY)
        if char == "R":
            both = Sequence((Set(of_character("\r")), Set(_NEWLINE)))
            return Atomic(Choice((both, self._set(_NEWLINES))))
        number = scanner.number()
        if char in "123456789" and not number and int(char) not in self._open_groups:
            return Reference(int(char), options.ignore_case)
        raise scanner.error(f"\\{char}{number} is not supported")

    # groups

    def _group(self, options: _Options, depth: int) -> Node:
        scanner = self._scanner
        if scanner.peek("*"):
            raise scanner.error("callouts are not supported")
        if not scanner.take("?"):
            self._n_groups += 1
            number = self._n_groups
            self._open_groups.add(number)
            body = self._rest_of_group(options, depth)
            self._open_groups.discard(number)
            return Group(number, body)
        for prefix, behind, negative in _LOOKS:
            if scanner.take(prefix):
                return Look(self._rest_of_group(options, depth), behind, negative)
        if scanner.take(":"):
            return self._rest_of_group(options, depth)
        if scanner.take(">"):
            return Atomic(self._rest_of_group(options, depth))
        if scanner.take("<"):
            name = scanner.until(">")
            if not name.isidentifier():
                raise scanner.error(f"{name!r} is no name of a group")
            self._has_names = True
            return self._rest_of_group(options, depth)
        char = scanner.next()
        if char in _UNSUPPORTED_GROUPS:
            raise scanner.error(f"{_UNSUPPORTED_GROUPS[char]} are not supported")
        scanner.at -= 1
        return self._rest_of_group(self._option_letters(options, ":"), depth)

    def _rest_of_group(self, options: _Options, depth: int) -> Node:
        node = self._alternatives(options, depth + 1)
        if not self._scanner.take(")"):
            raise self._scanner.error("a ( has no )")
        return node

    def _changed_options(self, options: _Options) -> _Options | None:
        """Read (?i) or (?m-i); return None if that is not what comes."""
        scanner = self._scanner
        if not scanner.peek("(?"):
            return None
        letters, end, _ = scanner.pattern[scanner.at + 2 :].partition(")")
        if not end or not letters.replace("-", "").isalpha():
            return None
        scanner.at += 2
        return self._option_letters(options, ")")

    def _option_letters(self, options: _Options, end: str) -> _Options:
        value = True
        while (char := self._scanner.next()) != end:
            if char == "-":
                value = False
            elif char == "i":
                options = options._replace(ignore_case=value)
            elif char == "m":
                options = options._replace(dot_all=value)
            else:
                raise self._scanner.error(f"the option {char!r} of a group is not supported")
        return options

    # quantifiers

    def _quantified(self, node: Node) -> Node:
        """Return a node with the quantifiers that follow it."""
        while (found := self._quantifier()) is not None:
            low, high, mode = found
            if isinstance(node, (Anchor, Look)):
                raise self._scanner.error("what matches a position cannot be repeated")
            if max(low, high or 0) > 1 and lengths(node)[0] == 0:
                # Oniguruma ends it early or not, as its optimizer decides
                raise self._scanner.error("what may match nothing cannot be repeated so often")
            if high == 0:
                node = Sequence()
            elif (low, high) != (1, 1):
                node = Repeat(node, low, high, mode)
        return node

    def _quantifier(self) -> tuple[int, int | None, Mode] | None:
        scanner = self._scanner
        for char, (low, high) in _QUANTIFIERS.items():
            if scanner.take(char):
                if scanner.take("+"):
                    return low, high, "possessive"
                return low, high, "lazy" if scanner.take("?") else "greedy"
        interval = self._interval()
        if interval is None:
            return None
        low, high = interval
        if high is not None and low > high:
            return high, low, "possessive"
        # after {n}, a ? is a quantifier of its own, and so is a + after any interval
        return low, high, "lazy" if low != high and scanner.take("?") else "greedy"

    def _interval(self) -> tuple[int, int | None] | None:
        """Read {n}, {n,}, {,m} or {n,m}; return None if it is something else, which is text."""
        scanner = self._scanner
        start = scanner.at
        if scanner.take("{"):
            low = scanner.number()
            high = scanner.number() if scanner.take(",") else low
            if scanner.take("}") and (low or high):
                if any(len(number) > 9 or int(number or 0) > _MAX_REPEAT for number in (low, high)):
                    raise scanner.error("a number of repetitions is too great")
                return int(low or 0), int(high) if high else None
        scanner.at = start
        return None


def _sequence(items: list[Node]) -> Node:
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def _choice(branches: list[Node]) -> Node:
    """Return one of the branches; neighbours that are sets become one set."""
    merged: list[Node] = []
    for are_sets, group in groupby(branches, key=lambda branch: isinstance(branch, Set)):
        if are_sets:
            merged.append(Set(union(node.ranges for node in group if isinstance(node, Set))))
        else:
            merged += group
    return merged[0] if len(merged) == 1 else Choice(tuple(merged))
