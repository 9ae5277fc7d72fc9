"""Every script in examples/ runs on the default model."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_something(
    script: Path, smollm2_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(script))["main"](4)
    assert capsys.readouterr().out.strip()
