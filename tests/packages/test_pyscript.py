"""The page of examples/web/pyscript in Chromium: PyScript's worker with the wheel, no CDN."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from browser_helpers import SURE_PROMPT, SURE_TOKENS, native_answer, serving
from get_test_wheels import MICROPIP, PACKAGING, get_test_wheels
from paths import ROOT
from playwright.sync_api import Browser, expect
from serve import make_server

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.browser]

EXAMPLE = ROOT / "examples" / "web" / "pyscript"
MODULES = ROOT / "node_modules"
FINISHED_MS = 90_000


@pytest.fixture
def folder(wheel: Path, tmp_path: Path) -> Path:
    """The example with all that it names beside it."""
    folder = tmp_path / "site"
    shutil.copytree(EXAMPLE, folder)
    shutil.copytree(MODULES / "@pyscript" / "core" / "dist", folder / "pyscript")
    shutil.copytree(MODULES / "pyodide", folder / "pyodide")
    shutil.copy(wheel, folder)
    # PyPI's micropip in place of the CDN's, which is the same but for its hash
    lock_file = folder / "pyodide" / "pyodide-lock.json"
    lock = json.loads(lock_file.read_text())
    for name, file in {"micropip": MICROPIP["314"], "packaging": PACKAGING}.items():
        data = (get_test_wheels() / file).read_bytes()
        (folder / "pyodide" / file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        lock["packages"][name].update(file_name=file, sha256=digest)
    lock_file.write_text(json.dumps(lock))
    return folder


def test_the_page_streams_what_the_engine_says_here(
    browser: Browser, folder: Path, smollm2_path: Path
) -> None:
    source = (EXAMPLE / "main.py").read_text()
    assert f'"{SURE_PROMPT}", {SURE_TOKENS},' in source
    assert smollm2_path.name in source
    expected = native_answer(smollm2_path)
    requested: list[str] = []
    uncaught: list[str] = []
    context = browser.new_context()
    with serving(make_server(folder, smollm2_path.parent)) as address:
        context.on("request", lambda request: requested.append(request.url))
        page = context.new_page()
        page.on("pageerror", lambda error: uncaught.append(str(error)))
        # each state of the answer, which a poll would miss when the tokens come fast
        page.add_init_script(
            """globalThis.seen = [];
            addEventListener("DOMContentLoaded", () => {
              const answer = document.querySelector("#answer");
              new MutationObserver(() => globalThis.seen.push(answer.textContent)).observe(
                answer, {childList: true, characterData: true, subtree: true});
            });"""
        )
        page.goto(address)
        expect(page.locator("#answer")).to_have_text(expected, timeout=FINISHED_MS)
        seen: list[str] = page.evaluate("globalThis.seen")
        context.close()
    assert uncaught == []
    assert seen[-1] == expected
    # the text grew
    assert len(set(seen)) > 3
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []
