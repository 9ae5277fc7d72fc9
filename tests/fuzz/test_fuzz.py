"""Each fuzzer finds no fault within a few seconds; `make fuzz` runs them for longer."""

from __future__ import annotations

import fuzzing
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzzing.names())
def test_no_faults(name: str) -> None:
    report = fuzzing.fuzz(name, seconds=10)
    assert not report.faults, report
    assert report.outcomes, report
