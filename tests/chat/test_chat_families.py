"""Published chat templates give what transformers' apply_chat_template gives."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from paths import GOLDEN as GOLDEN_FOLDER

from oxillama_web.chat.template import render_chat_template
from oxillama_web.errors import ChatTemplateError

GOLDEN = json.loads((GOLDEN_FOLDER / "chat_templates.json").read_text())


class FixedDate(datetime):
    """The day of the golden texts."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.fromisoformat(GOLDEN["now"])


@pytest.fixture(autouse=True)
def fixed_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datetime.datetime", FixedDate)


@pytest.mark.parametrize("family", GOLDEN["families"])
def test_a_family_renders_as_transformers_does(family: str) -> None:
    template, cases = (GOLDEN["families"][family][key] for key in ("template", "cases"))
    assert any("text" in case for case in cases)
    for case in cases:
        assert render(template, case) == case.get("text")


def render(template: str, case: dict[str, Any]) -> str | None:
    """None if the template raises an error."""
    arguments = (
        template, case["messages"], case.get("add_generation_prompt", True),
        GOLDEN["bos_token"], GOLDEN["eos_token"], case.get("tools"),
    )  # fmt: skip
    try:
        return render_chat_template(*arguments)
    except ChatTemplateError:
        return None
