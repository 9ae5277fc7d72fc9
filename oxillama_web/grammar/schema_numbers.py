"""Numbers between two bounds, as GBNF: digit by digit."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import NamedTuple

from ..errors import GrammarError
from .schema_text import NOTHING, choice

# so many digits tell float64 numbers apart
_MOST_DIGITS = 15
_MOST_DECIMALS = 10
_MOST_BOUND_DIGITS = 18
# decimals beyond those of the bounds
_FINER = 2


class Interval(NamedTuple):
    """What lies between two bounds; None is no bound."""

    low: Decimal | None
    high: Decimal | None
    without_low: bool
    without_high: bool


def integers(interval: Interval) -> str:
    """Integers as GBNF, of at most 15 digits where there is no bound."""
    return choice(_of_scale(interval, 0)) if _has_bound(interval) else "integer"


def numbers(interval: Interval) -> str:
    """Decimal numbers as GBNF."""
    if not _has_bound(interval):
        return "number"
    n_decimals = max(
        _decimals(bound) for bound in (interval.low, interval.high) if bound is not None
    )
    if n_decimals > _MOST_DECIMALS:
        raise GrammarError(f"a bound has more than {_MOST_DECIMALS} decimals")
    finest = n_decimals + _FINER
    options = [option for scale in range(finest + 1) for option in _of_scale(interval, scale)]
    return choice(options + _finer(interval, finest))


def _has_bound(interval: Interval) -> bool:
    bounds = [bound for bound in (interval.low, interval.high) if bound is not None]
    if any(len(bound.as_tuple().digits) > _MOST_BOUND_DIGITS for bound in bounds):
        raise GrammarError(f"a bound has more than {_MOST_BOUND_DIGITS} digits")
    return bool(bounds)


def _decimals(bound: Decimal) -> int:
    exponent = bound.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def _of_scale(interval: Interval, scale: int) -> list[str]:
    """Numbers with exactly `scale` decimals."""
    low, high = _scaled(interval, scale)
    if scale and len(str(max(abs(low), abs(high)))) > _MOST_DIGITS:
        return []
    options = [_pattern(p, scale) for p in _patterns(max(low, 0), high, scale + 1)]
    # minus zero is zero
    options += ['"-" ' + _pattern(p, scale) for p in _patterns(max(-high, 1), -low, scale + 1)]
    return options


def _finer(interval: Interval, scale: int) -> list[str]:
    """Numbers with more decimals: those between two neighbours that both are in the interval."""
    low, high = _scaled(interval, scale)
    n_digits = len(str(max(abs(low), abs(high))))
    if n_digits >= _MOST_DIGITS:
        return []
    more = f" [0-9]{{1,{_MOST_DIGITS - n_digits}}}"
    above = _patterns(max(low, 0), high - 1, scale + 1)
    below = _patterns(max(-high, 1), -low - 1, scale + 1)
    return [_pattern(p, scale) + more for p in above] + [
        '"-" ' + _pattern(p, scale) + more for p in below
    ]


def _scaled(interval: Interval, scale: int) -> tuple[int, int]:
    """The least and largest integers whose 10**-scale-fold is in the interval."""
    factor = Decimal(10) ** scale
    bounds = [abs(b) * factor for b in (interval.low, interval.high) if b is not None]
    limit = max([10**_MOST_DIGITS - 1, *[10 * math.ceil(bound) for bound in bounds]])
    low, high = -limit, limit
    if interval.low is not None:
        low = math.ceil(interval.low * factor)
        low += interval.without_low and low == interval.low * factor
    if interval.high is not None:
        high = math.floor(interval.high * factor)
        high -= interval.without_high and high == interval.high * factor
    return low, high


def _patterns(low: int, high: int, least_digits: int) -> list[list[str]]:
    """Integers from `low` to `high`, neither below 0, with zeros in front if they are short.

    Each pattern is a list of GBNF items, one a digit.
    """
    found: list[list[str]] = []
    first = 0
    for n_digits in range(least_digits, len(str(max(high, 0))) + 1):
        last = 10**n_digits - 1
        start, end = max(low, first), min(high, last)
        if start <= end:
            found += _between(f"{start:0{n_digits}}", f"{end:0{n_digits}}")
        first = last + 1
    if len(str(max(high, 0))) < least_digits and low <= high:
        found += _between(f"{low:0{least_digits}}", f"{high:0{least_digits}}")
    return found


def _between(low: str, high: str) -> list[list[str]]:
    """Texts of equally many digits."""
    if not low:
        return [[]]
    if low[0] == high[0]:
        return [[_digits(low[0], low[0]), *rest] for rest in _between(low[1:], high[1:])]
    n = len(low) - 1
    first, last = low[0], high[0]
    found = []
    if low[1:].strip("0"):
        found += [[_digits(first, first), *rest] for rest in _between(low[1:], "9" * n)]
        first = chr(ord(first) + 1)
    ends = []
    if high[1:].strip("9"):
        ends = [[_digits(last, last), *rest] for rest in _between("0" * n, high[1:])]
        last = chr(ord(last) - 1)
    if first <= last:
        found.append([_digits(first, last), *["[0-9]"] * n])
    return found + ends


def _digits(first: str, last: str) -> str:
    return f'"{first}"' if first == last else f"[{first}-{last}]"


def _pattern(digits: list[str], n_decimals: int) -> str:
    n_whole = len(digits) - n_decimals
    point = ['"."'] if n_decimals else []
    return " ".join(digits[:n_whole] + point + digits[n_whole:]) or NOTHING
