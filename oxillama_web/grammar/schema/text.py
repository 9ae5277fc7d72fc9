"""Pieces of GBNF text: literals, classes of characters, and the parts that all JSON shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache

from ...errors import GrammarError
from ..expressions import Ranges, intersection, inverted

MAX_RULES = 100_000
# The rules that all JSON shares; `number`, `integer` are those without bounds.
JSON_RULES = r"""
value ::= object | array | string | number | boolean | null
object ::= "{" space (pair ("," space pair)* space)? "}"
pair ::= string ":" space value
array ::= "[" space (value ("," space value)* space)? "]"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | unicode)
unicode ::= "u" (other | "d" [89abAB] hex{2} "\\u" "d" [c-fC-F] hex{2})
other ::= [0-9a-ce-fA-CE-F] hex{3} | [dD] [0-7] hex{2}
hex ::= [0-9a-fA-F]
boolean ::= "true" | "false"
null ::= "null"
"""
# One space, or a new line and what indents it: an answer cannot go on with spaces for ever.
FREE_SPACE = 'space ::= (" " | "\\n" [ \\t]{0,20})?\n'
NO_SPACE = 'space ::= ""\n'

# what JSON writes with a backslash and a letter
_LETTERS = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_RAW: Ranges = inverted(((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F), (0xD800, 0xDFFF)))
NOTHING = "[]"


class Rules:
    """The rules of a grammar that grows.

    Args:
        prefix: begins the names of all rules.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._made: dict[Hashable, str] = {}

    def once(self, key: Hashable, make: Callable[[], str]) -> str:
        """Return what `make` made when the key was first met."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def add(self, kind: str, body: str) -> str:
        """Return the name of a rule; equal ones are the same."""
        name = self._names.get(body)
        if name is None:
            name = self._names[body] = self.new(kind)
            self._bodies[name] = body
        return name

    def new(self, kind: str) -> str:
        """Return a name for a rule to be defined later."""
        if len(self._bodies) >= MAX_RULES:
            raise GrammarError(f"the schema needs more than {MAX_RULES} rules")
        name = f"{self._prefix}{kind}-{len(self._bodies)}"
        self._bodies[name] = NOTHING
        return name

    def define(self, name: str, body: str) -> None:
        """Define a rule that has its name."""
        self._bodies[name] = body

    def text(self) -> str:
        """Return all rules as GBNF."""
        return "\n".join(f"{name} ::= {body}" for name, body in self._bodies.items())


def literal(text: str) -> str:
    """A text as GBNF."""
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise GrammarError(f"{text!r} holds half of a surrogate pair, which is no character")
    return '"' + "".join(_escaped(ord(char)) for char in text) + '"'


def json_literal(value: object) -> str:
    """A JSON value as GBNF, without spaces."""
    try:
        return literal(
            json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise GrammarError(f"{value!r} is no JSON value: {error}") from error


def char_class(ranges: Ranges) -> str:
    """A class of characters as GBNF."""
    parts = [
        _escaped(low) if low == high else f"{_escaped(low)}-{_escaped(high)}"
        for low, high in ranges
    ]
    return f"[{''.join(parts)}]"


def string_char(ranges: Ranges) -> str:
    """One character out of `ranges` as it stands inside of a JSON string."""
    raw = intersection(ranges, _RAW)
    options = [char_class(raw)] if raw else []
    options += [
        literal("\\" + letter)
        for char, letter in _LETTERS.items()
        if any(low <= ord(char) <= high for low, high in ranges)
    ]
    if not options:
        codes = [code for low, high in ranges if low < 0x80 for code in range(low, high + 1)]
        options = [literal(f"\\u{code:04x}") for code in codes if code < 0x80]
    return choice(options)


def choice(options: Iterable[str]) -> str:
    """Any of the options, each once, as one item; none of them if there are none."""
    distinct = list(dict.fromkeys(options))
    if len(distinct) == 1:
        return distinct[0]
    return f"({' | '.join(distinct)})" if distinct else NOTHING


def bounds(least: int, most: int | None) -> str:
    """How often the item before it is repeated."""
    if (least, most) == (0, None):
        return "*"
    return f"{{{least},{'' if most is None else most}}}"


@lru_cache(4096)
def _escaped(code: int) -> str:
    char = chr(code)
    if char.isascii() and (char.isalnum() or char in " _:,.;/+=<>@#%&!?*(){}'|~$"):
        return char
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
