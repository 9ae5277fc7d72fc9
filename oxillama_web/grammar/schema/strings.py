"""Strings: lengths, patterns and formats together, as GBNF."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ...errors import GrammarError
from ..expressions import LAST_CODE_POINT, Ranges
from .formats import counted_format, widest_format, written_format
from .machine_rules import write_dfa
from .machines import Complement, Machine, Product, Words, accepts, explore, lengths
from .regex import Ahead, Alt, At, Regex, Seq, Set, Times, parse_regex
from .regex import lengths as regex_lengths
from .regex_machine import RegexMachine
from .text import NOTHING, Rules, bounds, choice, string_char

_ALL: Ranges = ((0, LAST_CODE_POINT),)
# More characters than an answer can have.
MAX_LENGTH = 300_000
_MAX_COUNTED = 100_000


class Text(NamedTuple):
    """Strings between two lengths that match patterns and formats, and do not match others."""

    least: int = 0
    most: int | None = None
    patterns: frozenset[str] = frozenset()
    other_patterns: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    other_formats: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()


def both(a: Text, b: Text) -> Text | None:
    """Return the strings that are of both; None if it is plain that there are none."""
    mosts = [most for most in (a.most, b.most) if most is not None]
    found = Text(
        max(a.least, b.least),
        min(mosts, default=None),
        a.patterns | b.patterns,
        a.other_patterns | b.other_patterns,
        a.formats | b.formats,
        a.other_formats | b.other_formats,
        a.excluded | b.excluded,
    )
    contradicts = found.patterns & found.other_patterns or found.formats & found.other_formats
    too_short = found.most is not None and found.most < found.least
    return None if contradicts or too_short else found


def contains(text: Text, value: str) -> bool:
    """Return whether it is certain that a string is of these."""
    if len(value) < text.least or (text.most is not None and len(value) > text.most):
        return False
    return value not in text.excluded and all(accepts(machine, value) for machine in machines(text))


def is_empty(text: Text) -> bool:
    """Return whether it is certain that there are no such strings."""
    if not (text.patterns or text.formats):
        return False
    wide = [RegexMachine(parse_regex(pattern), outer=True) for pattern in sorted(text.patterns)]
    wide += [RegexMachine(found) for name in text.formats if (found := widest_format(name))]
    narrow = [Complement(RegexMachine(parse_regex(p))) for p in sorted(text.other_patterns)]
    try:
        dfa = explore(Product([*wide, *narrow]), _ALL, "a string")
    except GrammarError:
        return False
    if dfa is None:
        return True
    shortest, longest = lengths(dfa)
    too_short = longest[0] is not None and longest[0] < text.least
    return too_short or (text.most is not None and shortest[0] > text.most)


def machines(text: Text, *, counted: bool = False) -> list[Machine]:
    """Return what decides all but the lengths.

    Args:
        counted: whether characters are counted besides, for which formats have simpler forms.

    Raises:
        GrammarError: a pattern is not supported, or a format cannot be forbidden.
    """
    found: list[Machine] = [_pattern_machine(pattern) for pattern in sorted(text.patterns)]
    found += [Complement(_pattern_machine(p, outer=True)) for p in sorted(text.other_patterns)]
    for name in sorted(text.formats):
        regex = counted_format(name) if counted else written_format(name, None)
        if regex is not None:
            found.append(RegexMachine(regex))
    for name in sorted(text.other_formats):
        if written_format(name, None) is None:
            continue
        if (regex := widest_format(name)) is None:
            raise GrammarError(f"that the format {name!r} is forbidden is not supported")
        found.append(Complement(RegexMachine(regex, outer=True)))
    if text.excluded:
        found.append(Complement(Words(sorted(text.excluded))))
    return found


def write_text(text: Text, rules: Rules) -> str:
    """Return the strings, with their quotes, as GBNF."""
    return rules.once(text, lambda: _write(text, rules))


@lru_cache(256)
def _pattern_machine(pattern: str, outer: bool = False) -> RegexMachine:
    return RegexMachine(parse_regex(pattern), outer)


def _write(text: Text, rules: Rules) -> str:
    most = text.most if text.most is None else min(text.most, MAX_LENGTH)
    if text.least > MAX_LENGTH:
        raise GrammarError(f"a string of {text.least} characters; at most {MAX_LENGTH}")
    regexes = [parse_regex(pattern) for pattern in sorted(text.patterns)]
    formats = [written_format(name, most) for name in sorted(text.formats)]
    regexes += [regex for regex in formats if regex is not None]
    if not regexes and not text.other_patterns and not text.other_formats and not text.excluded:
        if text.least == 0 and most is None:
            return "string"
        return rules.add("string", f'"\\"" {_any_text(text.least, most)} "\\""')
    if len(regexes) == 1 and not (text.other_patterns or text.other_formats or text.excluded):
        found = _as_it_is_written(regexes[0], rules)
        if found is not None:
            body, shortest, longest = found
            fits = most is None or (longest is not None and longest <= most)
            if text.least <= shortest and fits:
                return rules.add("string", f'"\\"" {body} "\\""')
    counted = text.least > 0 or most is not None
    parts = machines(text, counted=counted)
    dfa = explore(Product(parts), _ALL, f"a string with {_what(text)}")
    if dfa is None:
        return NOTHING

    def char(ranges: Ranges) -> str:
        return _char(ranges, rules)

    return rules.add(
        "string", f'"\\"" {write_dfa(dfa, rules, char, least=text.least, most=most)} "\\""'
    )


def _any_text(least: int, most: int | None) -> str:
    if max(least, most or 0) <= _MAX_COUNTED:
        return f"char{bounds(least, most)}"
    # in chunks: whole ones, and the last, which may be shorter
    chunk = f"(char{{{_MAX_COUNTED}}})"
    n_least, n_most = least // _MAX_COUNTED, None if most is None else most // _MAX_COUNTED
    rest = least % _MAX_COUNTED
    options = []
    if most is None:
        return f"{chunk}{{{n_least}}} char{{{rest},}}"
    for n in range(n_least, (n_most or 0) + 1):
        low = rest if n == n_least else 0
        high = most - n * _MAX_COUNTED if n == n_most else _MAX_COUNTED - 1
        options.append(f"{chunk}{{{n}}} char{bounds(low, high)}")
    return choice(options)


def _what(text: Text) -> str:
    parts = [f"the pattern {pattern!r}" for pattern in sorted(text.patterns | text.other_patterns)]
    parts += [f"the format {name!r}" for name in sorted(text.formats | text.other_formats)]
    if text.excluded:
        parts.append("texts that are forbidden")
    return " and ".join(parts)[:300]


def _char(ranges: Ranges, rules: Rules) -> str:
    if _is_all(ranges):
        return "char"
    found = rules.once(("char", ranges), lambda: string_char(ranges))
    return found if len(found) < 24 else rules.add("char", found)


def _is_all(ranges: Ranges) -> bool:
    """Whether only surrogates may be missing, which are no characters."""
    return ranges in (_ALL, ((0, 0xD7FF), (0xE000, LAST_CODE_POINT)))


def _as_it_is_written(regex: Regex, rules: Rules) -> tuple[str, int, int | None] | None:
    """A regex as GBNF, part by part, with the least and most characters; None if it cannot be."""
    options, shortest, longest = [], [], []
    for option in regex.options if isinstance(regex, Alt) else (regex,):
        parts = list(option.parts) if isinstance(option, Seq) else [option]
        starts = bool(parts) and parts[0] == At("^")
        parts = parts[1:] if starts else parts
        ends = bool(parts) and parts[-1] in (At("$"), At("Z"))
        parts = parts[:-1] if ends else parts
        if any(map(_has_places, parts)):
            return None
        body = " ".join(_part(part, rules) for part in parts) or '""'
        options.append(f"{'' if starts else 'char* '}{body}{'' if ends else ' char*'}")
        least, most = regex_lengths(Seq(tuple(parts)))
        shortest.append(least)
        longest.append(most if starts and ends else None)
    mosts = [most for most in longest if most is not None]
    whole = max(mosts) if len(mosts) == len(longest) else None
    body = f"({' | '.join(options)})" if len(options) > 1 else options[0]
    return body, min(shortest), whole


def _has_places(regex: Regex) -> bool:
    match regex:
        case At() | Ahead():
            return True
        case Seq(parts) | Alt(parts):
            return any(map(_has_places, parts))
        case Times(part):
            return _has_places(part)
    return False


def _part(regex: Regex, rules: Rules) -> str:
    match regex:
        case Set(inner):
            return _char(inner, rules)
        case Seq(parts):
            return f"({' '.join(_part(part, rules) for part in parts)})" if parts else '""'
        case Alt(options):
            return f"({' | '.join(_part(option, rules) for option in options)})"
        case Times(part, least, most):
            return f"({_part(part, rules)}){bounds(least, most)}"
    raise AssertionError(regex)
