"""Every script in examples/ runs on the default model."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from paths import ROOT
from reranker_files import write_reranker

RERANK = ROOT / "examples" / "rerank.py"  # the default model is no reranker
EXAMPLES = sorted({*(ROOT / "examples").glob("*.py")} - {RERANK})


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_something(
    script: Path, smollm2_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(script))["main"](4)
    assert capsys.readouterr().out.strip()


@pytest.mark.usefixtures("smollm2_path")
def test_the_python_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    exec(code, {})
    printed = capsys.readouterr().out
    assert printed.endswith("\n") and len(printed.strip()) > 20


def test_the_example_of_a_reranker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_reranker(tmp_path / "bert.gguf", "bert")
    runpy.run_path(str(RERANK))["main"](str(tmp_path / "bert.gguf"))
    assert len(capsys.readouterr().out.splitlines()) == 3
