"""Numbers between bounds, and multiples, as texts: exact arithmetic digit by digit.

There are three forms, each an automaton over the number's magnitude: integers as 12, fractions as
12.5, and, for what these are too short for, exponents as 1.25e+40. A reader makes a float64 of the
last two, so their bounds are float64 numbers: rounding keeps the order of numbers, hence what is
written between two float64 numbers is read as a number between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import NamedTuple, TypeVar

from ..expressions import Ranges
from .machine_rules import write_dfa
from .machines import Complement, Machine, Product, explore
from .number_machines import (
    MAX_DIGITS,
    Compared,
    Multiple,
    NoZeroAtEnd,
    Plain,
    Scientific,
    exponent_of,
)
from .text import NOTHING, Rules, char_class, choice

_MAX_DECIMALS = 22
_MAX_FLOAT = Decimal(repr(math.nextafter(math.inf, 0)))
_MIN_FLOAT = Decimal(repr(math.nextafter(0, 1)))
# From here on every float64 is an integer, and what is written with this exponent is one.
_INTEGRAL_EXPONENT = 16
_PLAIN_ALPHABET: Ranges = ((0x2E, 0x2E), (0x30, 0x39))
_EXPONENT_ALPHABET: Ranges = (*_PLAIN_ALPHABET, (0x45, 0x45), (0x65, 0x65))


Number = TypeVar("Number", int, Decimal)


class Bound(NamedTuple):
    """One end of an interval, and whether it belongs to it."""

    value: Decimal
    excluded: bool


class Interval(NamedTuple):
    """The numbers between two bounds; None is no bound.

    Attributes:
        integer: whether only integers, only others, or both (None).
        multiples: what all of them are multiples of, and what none of them is.
    """

    low: Bound | None = None
    high: Bound | None = None
    integer: bool | None = None
    multiples: frozenset[Decimal] = frozenset()
    others: frozenset[Decimal] = frozenset()


def both(a: Interval, b: Interval) -> Interval | None:
    """Return the numbers that are in both; None if there are none."""
    lows = [bound for bound in (a.low, b.low) if bound]
    highs = [bound for bound in (a.high, b.high) if bound]
    low = max(lows, key=lambda bound: (bound.value, bound.excluded), default=None)
    high = min(highs, key=lambda bound: (bound.value, not bound.excluded), default=None)
    if low and high:
        excluded = low.excluded or high.excluded
        if low.value > high.value or (low.value == high.value and excluded):
            return None
    if None not in (a.integer, b.integer) and a.integer != b.integer:
        return None
    integer = b.integer if a.integer is None else a.integer
    found = Interval(low, high, integer, a.multiples | b.multiples, a.others | b.others)
    if integer is False and low and high and low.value == high.value and _is_whole(low.value):
        return None
    if integer and low and high:
        first, last = _integers(found)
        if first > last:
            return None
    return found


def decimal_of(value: int | float | Decimal) -> Decimal:
    """Return a number as it compares: in full from 2**53 on, where floats are integers."""
    if isinstance(value, float) and abs(value) >= 2**53:
        return Decimal(value)
    return Decimal(str(value))


def contains(interval: Interval, value: int | float | Decimal) -> bool:
    """Return whether a number is in an interval."""
    number = decimal_of(value)
    low, high = interval.low, interval.high
    if low and (number < low.value or (low.excluded and number == low.value)):
        return False
    if high and (number > high.value or (high.excluded and number == high.value)):
        return False
    if interval.integer is not None and _is_whole(number) != interval.integer:
        return False
    return all(_is_multiple(number, unit) for unit in interval.multiples) and not any(
        _is_multiple(number, unit) for unit in interval.others
    )


def few_integers(interval: Interval, most: int) -> list[int] | None:
    """Return the interval's numbers, if they are integers and at most so many; None if not."""
    if not interval.integer or not interval.low or not interval.high:
        return None
    first, last = _integers(interval)
    if last - first >= most:
        return None
    return [n for n in range(first, last + 1) if contains(interval, n)]


def write_numbers(interval: Interval, rules: Rules) -> str:
    """Return the interval's numbers as GBNF.

    Raises:
        GrammarError: its multiples need too large an automaton.
    """
    if interval == Interval():
        return "number"
    if interval == Interval(integer=True):
        return "integer"
    return rules.once(interval, lambda: _write(interval, rules))


@cache
def shared_number_rules() -> str:
    """Return `number` and `integer`, which have no bounds, and parts of numbers with bounds."""
    rules = Rules("numeric")
    bodies = {
        "tiny": '"5" [eE] "-" "324"',
        "huge": _scientific_numbers(Decimal("1e308"), _MAX_FLOAT, rules),
        "integer": f'"-"? ("0" | [1-9] [0-9]{{0,{MAX_DIGITS - 1}}}) | '
        + " | ".join(_write_exponents(Interval(integer=True), rules)),
        "number": f'"-"? ("0" | [1-9] [0-9]{{0,{MAX_DIGITS}}}) ("." [0-9]{{1,{_MAX_DECIMALS}}})? '
        + "([eE] [-+]? [0-9]{1,2})? | "
        + " | ".join(_write_exponents(Interval(), rules)),
    }
    for name, body in bodies.items():
        rules.define(name, body)
    return rules.text()


def distinct_forms(interval: Interval) -> list[tuple[str, list[Machine], Ranges]]:
    """Return machines of an interval's numbers, each of which has but one text, by sign.

    There are integers and, if the interval has others, short fractions, but no exponents.
    """
    checks = _multiple_checks(interval)
    found: list[tuple[str, list[Machine], Ranges]] = []
    if interval.integer is not False:
        for sign, low, high in _by_sign(interval, *_integers(interval), 1):
            parts = _between(Decimal(low), Decimal(high), MAX_DIGITS)
            found.append(
                (sign, [Plain(0, 0, 1, is_limited=False), *parts, *checks], _PLAIN_ALPHABET)
            )
    if interval.integer or any(map(_is_whole, interval.multiples)):
        return found
    for sign, lowest, highest in _by_sign(interval, *_floats(interval), _MIN_FLOAT):
        # few enough digits for a float64 of its own, and no zero at the end
        parts = [Plain(1, 3, 6), NoZeroAtEnd(), *_between(lowest, highest, 6)]
        found.append((sign, [*parts, *checks], _PLAIN_ALPHABET))
    return found


def _write(interval: Interval, rules: Rules) -> str:
    options: list[str] = []
    fractions = interval.multiples and not any(map(_is_whole, interval.multiples))
    if interval.integer is not False:
        options += _write_integers(interval, rules)
    if interval.integer is not True and (not interval.multiples or fractions):
        options += _write_fractions(interval, rules)
    if not interval.multiples and not interval.others:
        options += _write_exponents(interval, rules)
    return rules.add("numbers", choice(options))


def _integers(interval: Interval) -> tuple[int, int]:
    """The first and the last integer of an interval with two bounds."""
    low, high = interval.low, interval.high
    largest = 10**MAX_DIGITS - 1
    first, last = -largest, largest
    if low:
        first = max(first, math.ceil(min(low.value, Decimal(largest + 1))))
        first += low.excluded and first == low.value
    if high:
        last = min(last, math.floor(max(high.value, Decimal(-largest - 1))))
        last -= high.excluded and last == high.value
    return first, last


def _floats(interval: Interval) -> tuple[Decimal, Decimal]:
    """The first and the last float64 of an interval, in their shortest form."""
    first, last = -_MAX_FLOAT, _MAX_FLOAT
    if interval.low:
        first = max(first, _float_beside(interval.low, math.inf))
    if interval.high:
        last = min(last, _float_beside(interval.high, -math.inf))
    return first, last


def _float_beside(bound: Bound, towards: float) -> Decimal:
    """The float64 number nearest to a bound that belongs to the interval."""
    value, sign = float(bound.value), math.copysign(1, towards)
    if math.isinf(value):
        return Decimal(value)
    distance = (_exact(value) - _exact_bound(bound.value)) * int(sign)
    if distance < 0 or (distance == 0 and bound.excluded):
        value = math.nextafter(value, towards)
    return Decimal(repr(value))


def _exact(value: float) -> Decimal:
    return Decimal(value)


def _exact_bound(value: Decimal) -> Decimal:
    """A bound that was read as a float64 is that float64, whatever its shortest form is."""
    as_float = float(value)
    is_float = abs(value) < 2**53 and Decimal(repr(as_float)) == value
    return Decimal(as_float) if is_float else value


def _write_integers(interval: Interval, rules: Rules) -> list[str]:
    first, last = _integers(interval)
    zeros = 0
    if len(interval.multiples) == 1 and not interval.others:
        # multiples of 3000 are multiples of 3 with three zeros, which needs fewer states
        (unit,) = interval.multiples
        zeros = max(0, exponent_of(unit.normalize()))
    checks = _multiple_checks(interval, zeros)
    # keeps the automaton small
    n_digits = 15 if checks else MAX_DIGITS
    plain = Plain(0, 0, n_digits)
    options = ['"0"'] if zeros and first <= 0 <= last else []
    first, last = -(-first // 10**zeros), last // 10**zeros
    for sign, low, high in _by_sign(interval, first, last, 1):
        low = max(low, 1) if zeros else low
        if low > high:
            continue
        machines = [plain, *_between(Decimal(low), Decimal(high), n_digits), *checks]
        written = _written(machines, sign, _PLAIN_ALPHABET, rules)
        options += [f'({text} "{"0" * zeros}")' for text in written] if zeros else written
    return options


def _write_fractions(interval: Interval, rules: Rules) -> list[str]:
    first, last = _floats(interval)
    most_whole, most_decimals = MAX_DIGITS + 1, _MAX_DECIMALS
    if interval.multiples:
        # a float64 holds these exactly enough to be read as what is written
        most_whole, most_decimals = 15, max(map(_n_decimals, interval.multiples))
    checks = _multiple_checks(interval)
    if interval.integer is False or interval.others:
        # few enough digits for a float64 that is read to be no integer
        most_whole, most_decimals = 8, 7
    if interval.integer is False:
        checks.append(Complement(Multiple(Decimal(1))))
    options = []
    plain = Plain(1, most_decimals, most_whole)
    for sign, low, high in _by_sign(interval, first, last, _MIN_FLOAT):
        machines = [plain, *_between(low, high, most_whole), *checks]
        options += _written(machines, sign, _PLAIN_ALPHABET, rules)
    return options


def _write_exponents(interval: Interval, rules: Rules) -> list[str]:
    first, last = _floats(interval)
    least, most = _MIN_FLOAT, _MAX_FLOAT
    if interval.integer:
        least = Decimal(10) ** _INTEGRAL_EXPONENT
    if interval.integer is False:
        most = Decimal("0.9")
    options = []
    for sign, low, high in _by_sign(interval, first, last, least):
        low, high = max(low, least), min(high, most)
        if low == _MIN_FLOAT < high:
            options.append(f"({sign}tiny)")
            low = Decimal("1e-323")
        if high == _MAX_FLOAT and low < Decimal("1e307"):
            options.append(f"({sign}huge)")
            high = Decimal("9.9999999999999999e307")
        if low <= high:
            options.append(f"({sign}{_scientific_numbers(low, high, rules)})")
    return options


def _scientific_numbers(low: Decimal, high: Decimal, rules: Rules) -> str:
    return "".join(_written([Scientific(low, high)], "", _EXPONENT_ALPHABET, rules)) or NOTHING


def _by_sign(
    interval: Interval, first: Number, last: Number, smallest: Number
) -> Iterator[tuple[str, Number, Number]]:
    """The magnitudes from `first` to `last`, with the sign as GBNF; minus zero is no number."""
    if not interval.low and not interval.high:
        yield '"-"? ', type(first)(0), last
        return
    for sign, low, high in (("", type(first)(0), last), ('"-" ', smallest, -first)):
        low = max(low, first if not sign else -last)
        if low <= high:
            yield sign, low, high


def _written(machines: list[Machine], sign: str, alphabet: Ranges, rules: Rules) -> list[str]:
    dfa = explore(Product(machines), alphabet, "a number between bounds or with multipleOf")
    if dfa is None:
        return []

    def suffix(label: object) -> str:
        if not isinstance(label, tuple):
            return '""'
        least, most = label
        return _exponents(least, most, rules)

    found = write_dfa(dfa, rules, char_class, suffix)
    return [f"({sign}{found})" if sign or " " in found else found]


def _between(low: Decimal, high: Decimal, n_digits: int) -> list[Machine]:
    """What keeps numbers of at most so many digits before the point between two bounds."""
    machines: list[Machine] = []
    if low > 0:
        machines.append(Compared(low, is_low=True))
    if high < 10**n_digits - 1:
        machines.append(Compared(high, is_low=False))
    return machines


def _multiple_checks(interval: Interval, n_zeros: int = 0) -> list[Machine]:
    """What tells multiples, of 10**-n_zeros of what they shall be multiples of."""
    return [
        *(Multiple(unit.scaleb(-n_zeros)) for unit in sorted(interval.multiples)),
        *(Complement(Multiple(unit)) for unit in sorted(interval.others)),
    ]


def _is_whole(value: Decimal) -> bool:
    return value.normalize().as_tuple().exponent >= 0  # type: ignore[operator]


def _is_multiple(value: Decimal, unit: Decimal) -> bool:
    exponent = min(exponent_of(value), exponent_of(unit))
    if abs(exponent) > 2000:
        return False
    scale = 10**-exponent if exponent < 0 else 1
    return int(value * scale) % int(unit * scale) == 0 if exponent < 0 else value % unit == 0


def _n_decimals(value: Decimal) -> int:
    return max(0, -exponent_of(value.normalize()))


def _exponents(least: int, most: int, rules: Rules) -> str:
    """Exponents between two bounds, as GBNF."""
    options = []
    for sign, low, high in (('"+"? ', max(least, 0), most), ('"-" ', max(-most, 1), -least)):
        digits = [
            " ".join(pattern)
            for n_digits in (1, 2, 3)
            if low <= min(high, 10**n_digits - 1)
            for pattern in _digits_between(
                f"{low:0{n_digits}}", f"{min(high, 10**n_digits - 1):0{n_digits}}"
            )
        ]
        options += [f"{sign}({' | '.join(digits)})"] if digits else []
    return rules.add("exponent", " | ".join(options) or NOTHING)


def _digits_between(low: str, high: str) -> list[list[str]]:
    """Texts of equally many digits, each as a list of GBNF items."""
    if not low:
        return [[]]
    if low[0] == high[0]:
        return [
            [char_class(_span(low[0], low[0])), *rest]
            for rest in _digits_between(low[1:], high[1:])
        ]
    n = len(low) - 1
    first, last = low[0], high[0]
    found = []
    if low[1:].strip("0"):
        found += [
            [char_class(_span(first, first)), *rest] for rest in _digits_between(low[1:], "9" * n)
        ]
        first = chr(ord(first) + 1)
    ends = []
    if high[1:].strip("9"):
        ends = [
            [char_class(_span(last, last)), *rest] for rest in _digits_between("0" * n, high[1:])
        ]
        last = chr(ord(last) - 1)
    if first <= last:
        found.append([char_class(_span(first, last)), *["[0-9]"] * n])
    return found + ends


def _span(first: str, last: str) -> Ranges:
    return ((ord(first), ord(last)),)
