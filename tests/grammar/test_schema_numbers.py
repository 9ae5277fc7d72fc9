"""Numbers between bounds against exact arithmetic: what is valid can be written, and only that."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from grammar_helpers import shared_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from oxillama_web.grammar.json_schema import json_schema_to_gbnf
from oxillama_web.grammar.masks import GrammarMasks

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
BOUNDS = st.one_of(
    st.integers(-2000, 2000), st.integers(-(2**70), 2**70), st.floats(-1000, 1000), FLOATS
)


def writes(masks: GrammarMasks, text: str) -> bool:
    state = masks.matcher.step(masks.matcher.start, text.encode())
    return state != 0 and masks.matcher.accepts(state)


def forms(value: float) -> set[str]:
    """The ways in which a number may be written, that read as it."""
    found = {repr(value)}
    if isinstance(value, float) and abs(value) < 2**53:
        found.add(f"{Decimal(repr(value)):f}")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e20:
        found.add(str(int(value)))
    # minus zero is no other number than zero
    return {"0" if not float(text) else text for text in found}


def near(value: float) -> list[float]:
    found: list[float] = [value]
    if isinstance(value, int):
        found += [value - 1, value + 1]
    if abs(value) < 1e308:
        found += [math.nextafter(value, math.inf), math.nextafter(value, -math.inf)]
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
        BOUNDS,
        max_size=3,
    ),
    st.sampled_from(["integer", "number"]),
    st.lists(st.one_of(st.integers(-(2**63), 2**64), FLOATS), max_size=4),
)
def test_numbers_within_bounds_can_be_written_and_no_others(
    bounds: dict[str, Any], kind: str, drawn: list[float]
) -> None:
    schema = {"type": kind, **bounds}
    validator = Draft202012Validator(schema)
    masks = None
    for value in [*drawn, *(close for bound in [0, *bounds.values()] for close in near(bound))]:
        if isinstance(value, int) and abs(value) >= 10**20:
            continue
        valid = validator.is_valid(value)
        if masks is None:
            if not valid:
                continue  # perhaps nothing is
            masks = shared_masks(json_schema_to_gbnf(schema))
        written = [text for text in forms(value) if writes(masks, text)]
        assert all(validator.is_valid(json.loads(text)) for text in written), (schema, written)
        assert bool(written) == valid, (schema, value, written)


UNITS = ["1", "2", "5", "7", "0.5", "0.01", "2.5", "0.0004", "300", "3600", "1e-8"]


@settings(max_examples=3, deadline=None)
@given(st.data())
@pytest.mark.parametrize("unit", UNITS)
def test_multiples_are_exact(unit: str, data: st.DataObject) -> None:
    exact = Fraction(unit)
    masks = shared_masks(json_schema_to_gbnf({"type": "number", "multipleOf": float(unit)}))
    for _ in range(40):
        factor = data.draw(st.integers(-20_000, 20_000))
        value = Decimal(unit) * factor
        if data.draw(st.booleans()):
            value += Decimal(data.draw(st.integers(-99, 99))).scaleb(-2)
        text = f"{value.normalize():f}" if value else "0"
        assert writes(masks, text) == (Fraction(value) % exact == 0), (unit, text)


def test_a_number_has_an_end() -> None:
    for schema in ({}, {"minimum": 0}, {"maximum": 1e300}, {"multipleOf": 0.01}):
        masks = shared_masks(json_schema_to_gbnf({"type": "number", **schema}))
        assert not writes(masks, "1" * 30)
        assert not writes(masks, "0." + "1" * 30)
