"""JSON answers in Chromium, next to free ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser_helpers import serving
from paths import HELPERS
from playwright.sync_api import Browser
from serve import make_server
from test_golden_browser import RUN

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.alone]

SCRIPT = HELPERS / "grammar_in_pyodide.py"


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_a_json_answer_costs_under_a_tenth_of_decoding(
    browser: Browser, site: Path, request: pytest.FixtureRequest, model: str
) -> None:
    path: Path = request.getfixturevalue(f"{model}_path")
    with serving(make_server(site, path.parent)) as address:
        page = browser.new_page()
        page.goto(address + "manifest.json")
        arguments = {
            "variant": "relaxed",
            "script": SCRIPT.read_text(),
            "model": path.name,
            "golden": "",
        }
        results = json.loads(page.evaluate(RUN, arguments))
        page.close()
    print(model, json.dumps(results, indent=1))
    for times in results.values():
        # what the grammar adds; whole answers differ by what they say, and by the machine's mood
        added = times["json"]["sampling"] - times["free"]["sampling"]
        assert added < 0.1 * times["free"]["token"]
    # greedy answers and the default sampler take less than a twentieth of a token's time
    for name in ("greedy", "default"):
        assert results[name]["free"]["sampling"] < 0.05 * results[name]["free"]["token"]
