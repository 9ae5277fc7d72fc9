"""Automata over the texts of numbers: digits, comparisons with a bound, multiples, exponents."""

from __future__ import annotations

from decimal import Decimal

from ...errors import GrammarError
from ..expressions import Ranges
from .machines import State

# 64-bit integers have at most 20 digits, and a float64 is told apart by 17.
MAX_DIGITS = 20
_MAX_MANTISSA_DECIMALS = 16
_MAX_MODULUS = 1000
# digits and the point
_PLAIN_SETS: tuple[Ranges, ...] = tuple(((code, code),) for code in (*range(0x30, 0x3A), 0x2E))


class Plain:
    """Digits without leading zeros, then a point and decimals if `least` is not 0."""

    sets = _PLAIN_SETS
    start: State = ("start", 0)

    def __init__(
        self, least: int, most: int, most_whole: int = MAX_DIGITS, *, is_limited: bool = True
    ) -> None:
        self._is_limited = is_limited
        self._least = least
        self._most = most
        self._most_whole = most_whole

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        part, n = state
        if code == 0x2E:
            return ("decimals", 0) if part in ("zero", "whole") and self._most else None
        if part == "start":
            return ("zero", 1) if code == 0x30 else ("whole", 1)
        if part == "whole" and not self._is_limited:
            return state
        most = self._most if part == "decimals" else self._most_whole
        return (part, n + 1) if part != "zero" and n < most else None

    def label(self, state: State) -> bool:
        """Return what is true of a text that ends here."""
        assert isinstance(state, tuple)
        part, n = state
        if part == "decimals":
            return bool(n >= self._least)
        return part != "start" and not self._least


class NoZeroAtEnd:
    """Texts that do not end with a zero."""

    sets: tuple[Ranges, ...] = (((0x30, 0x30),),)
    start: State = False

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        return code == 0x30

    def label(self, state: State) -> bool:
        """Return what is true of a text that ends here."""
        return not state


class Compared:
    """Plain numbers of at least, or at most, a bound that is not negative."""

    sets = _PLAIN_SETS
    # the number of digits before the point, and how they compare with as many of the bound's
    start: State = ("whole", 0, 0)

    def __init__(self, bound: Decimal, is_low: bool) -> None:
        whole, _, self._decimals = f"{bound:f}".partition(".")
        self._whole = whole
        self._is_low = is_low

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        part, n, order = state
        if code == 0x2E:
            if n != len(self._whole):
                order = -1 if n < len(self._whole) else 1
            return self._decided(order) if order else ("decimals", 0, 0)
        if part == "decided":
            return state
        digits = self._whole if part == "whole" else self._decimals
        if not order and (n < len(digits) or part == "decimals"):
            digit = digits[n] if n < len(digits) else "0"
            order = (chr(code) > digit) - (chr(code) < digit)
        if part == "whole":
            return (part, n + 1, order) if n < len(digits) else (part, len(digits) + 1, 1)
        return self._decided(order) if order else (part, min(n + 1, len(digits)), 0)

    def label(self, state: State) -> bool:
        """Return what is true of a text that ends here."""
        assert isinstance(state, tuple)
        part, n, order = state
        if part == "whole" and n != len(self._whole):
            order = -1 if n < len(self._whole) else 1
        if not order:
            rest = self._decimals[n:] if part == "decimals" else self._decimals
            order = -1 if rest.strip("0") else 0
        return bool(order >= 0 if self._is_low else order <= 0)

    def _decided(self, order: int) -> State:
        return ("decided", 0, order) if (order > 0) == self._is_low else None


class Multiple:
    """Plain numbers that are multiples of a unit, which is modulus * 10**exponent."""

    sets = _PLAIN_SETS

    def __init__(self, unit: Decimal) -> None:
        normal = unit.normalize()
        self._exponent = exponent_of(normal)
        self._modulus = int(normal.scaleb(-self._exponent))
        if self._modulus > _MAX_MODULUS or abs(self._exponent) > MAX_DIGITS:
            raise GrammarError(
                f"multipleOf {unit}: only multiples of numbers up to {_MAX_MODULUS} and their "
                f"products with powers of 10 can be written"
            )
        # the number of decimals, or -1 before the point; the remainder of the digits so far,
        # without the zeros at their end; and the number of these zeros, as far as they matter
        self.start: State = (-1, 0, max(self._exponent, 0))

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        n_decimals, remainder, n_zeros = state
        if code == 0x2E:
            return (0, remainder, n_zeros)
        digit = code - 0x30
        if n_decimals >= 0:
            if n_decimals >= max(-self._exponent, 0):
                return state if digit == 0 else None
            n_decimals += 1
        if digit == 0 and n_zeros < self._exponent:
            return (n_decimals, remainder, n_zeros + 1)
        if digit == 0 and self._exponent > 0:
            return (n_decimals, remainder * 10 % self._modulus, n_zeros)
        return (n_decimals, (remainder * 10 ** (n_zeros + 1) + digit) % self._modulus, 0)

    def label(self, state: State) -> bool:
        """Return what is true of a text that ends here."""
        assert isinstance(state, tuple)
        n_decimals, remainder, n_zeros = state
        if self._exponent <= 0:
            missing = -self._exponent - max(n_decimals, 0)
            return bool(remainder * 10**missing % self._modulus == 0)
        return bool(remainder == 0 and n_zeros >= self._exponent)


class Scientific:
    """Numbers as 1.25e+40 between two positive bounds; a label is the exponents that may follow."""

    sets: tuple[Ranges, ...] = (*_PLAIN_SETS, ((0x45, 0x45), (0x65, 0x65)))
    # where in the text; the digits so far; how they compare with as many of the bounds'
    start: State = ("start", 0, 0, 0)

    def __init__(self, low: Decimal, high: Decimal) -> None:
        self._low, self._low_exponent = _scientific(low)
        self._high, self._high_exponent = _scientific(high)

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        if state[0] == "exponent":
            return None
        part, n, low, high = state
        if code in (0x45, 0x65):
            return self._exponents(n, low, high) if part in ("first", "decimals") else None
        if code == 0x2E:
            return ("point", n, low, high) if part == "first" else None
        if part == "first" or n > _MAX_MANTISSA_DECIMALS:
            return None
        if part == "start" and code == 0x30:
            return None
        order = (_order(chr(code), self._low, n, low), _order(chr(code), self._high, n, high))
        return ("first" if part == "start" else "decimals", n + 1, *order)

    def label(self, state: State) -> tuple[int, int] | bool:
        """Return what is true of a text that ends here."""
        assert isinstance(state, tuple)
        return state[1:3] if state[0] == "exponent" else False

    def _exponents(self, n: int, low: int, high: int) -> State:
        least = self._low_exponent + (low < 0 or (low == 0 and n < len(self._low)))
        most = self._high_exponent - (high > 0)
        return ("exponent", least, most) if least <= most else None


def _scientific(value: Decimal) -> tuple[str, int]:
    """The digits of a positive number, and the exponent of the first one."""
    digits = "".join(map(str, value.normalize().as_tuple().digits))
    return digits, value.adjusted()


def _order(char: str, digits: str, n: int, order: int) -> int:
    digit = digits[n] if n < len(digits) else "0"
    return order or (char > digit) - (char < digit)


def exponent_of(value: Decimal) -> int:
    """Return the exponent of a number's last digit."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent
