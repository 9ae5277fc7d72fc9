"""The table of families leaves nothing out that the tests measure, and can be computed."""

from __future__ import annotations

import family_table
import pytest
from architecture_files import CASES
from family_table import chat, families, others, vocabularies


def test_it_has_everything() -> None:
    rows = families()
    cases = [case for family in rows for case in family.cases]
    assert sorted(cases) == sorted([*CASES, *others.GOLDEN])
    templates = [name for family in rows for name in family.compared.templates]
    assert sorted(templates) == sorted(chat.GOLDEN["families"])
    names = {name for family in rows for name in family.compared.gguf.split()}
    assert names >= vocabularies.GOLDEN["vocabularies"].keys()


def test_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datetime.datetime", chat.FixedDate)
    exact, _, kernels = family_table.errors(["mistral", "mixtral"]).partition("; kernels ")
    assert 0 < float(exact) < 1e-5
    assert 0.5 < float(kernels.split()[0]) < 1.1
    assert family_table.template_cell("Gemma 2") == "6 (Gemma 2)"
    assert family_table.tiny_cell("mistral3") == "1 (tiny file)"
    assert family_table.cell([True, False], "x") == "1 of 2 (x)"
