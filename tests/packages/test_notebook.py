"""The notebook of examples/ in JupyterLite in Chromium: the wheel alone, text as it comes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import SURE_PROMPT, SURE_TOKENS, native_answer, serving
from make_lite import make_lite
from paths import ROOT
from playwright.sync_api import Browser, expect
from serve import make_server

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.browser]

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
FINISHED_MS = 120_000


@pytest.fixture(scope="module")
def lite_url(wheel: Path, smollm2_path: Path) -> Iterator[str]:
    """The address of a JupyterLite with the notebook, the wheel and the model in files/."""
    lite = ROOT / "build" / "lite"
    make_lite(wheel, lite)
    model = lite / "files" / smollm2_path.name
    model.unlink(missing_ok=True)
    model.symlink_to(smollm2_path)
    with serving(make_server(lite, isolate=False)) as address:
        yield address


def test_the_notebook_streams_what_the_engine_says_here(
    browser: Browser, lite_url: str, smollm2_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    foreign: list[str] = []
    context.on("request", lambda request: foreign.append(request.url))
    page = context.new_page()
    page.goto(f"{lite_url}lab/index.html?path={NOTEBOOK.name}")
    page.locator(".jp-CodeCell").last.wait_for(timeout=FINISHED_MS)
    # JupyterLab forgets cells that it is to run while it still connects to a kernel
    page.get_by_role("button", name="Python (Pyodide) | Idle").wait_for(timeout=FINISHED_MS)
    # each state of the output, which a poll would miss when the tokens come fast
    page.evaluate(
        """() => {
          globalThis.seen = [];
          // looked for each time: JupyterLab may make a cell anew
          const note = () => globalThis.seen.push(
            [...document.querySelectorAll(".jp-CodeCell")].at(-1)
              ?.querySelector(".jp-OutputArea-output")?.innerText.trim());
          new MutationObserver(note).observe(
            document.body, {childList: true, characterData: true, subtree: true});
        }"""
    )
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    output = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output")
    expected = native_answer(smollm2_path).strip()
    expect(output).to_have_text(expected, timeout=FINISHED_MS)
    seen: list[str] = page.evaluate("globalThis.seen")
    context.close()
    assert expected in seen
    # the output grew
    assert len(set(seen)) > 3
    hosts = (lite_url, "data:", "blob:")
    assert [address for address in foreign if not address.startswith(hosts)] == []


def test_the_notebook_is_kept_without_results_and_names_this_version(wheel: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in code)
    source = "".join(line for cell in code for line in cell["source"])
    assert wheel.name in source
    assert SURE_PROMPT in source
    assert f", {SURE_TOKENS}," in source
