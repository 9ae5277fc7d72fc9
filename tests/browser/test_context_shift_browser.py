"""A full context shifts in Chromium too, in the kernels' own memory there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser_helpers import TINY, serving
from paths import HELPERS
from playwright.sync_api import Browser
from serve import make_server

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

SCRIPT = HELPERS / "context_shift_in_pyodide.py"
RUN = """async ({ script, model }) => {
    const { loadPyodide } = await import("./pyodide/pyodide.mjs");
    const { openKernels } = await import("./kernels/pool.js");
    const manifest = await (await fetch("manifest.json")).json();
    const [pyodide, pool, response] = await Promise.all([
        loadPyodide({
            lockFileContents: JSON.stringify(manifest.lock),
            packageBaseUrl: new URL("wheels/", location.href).href,
        }),
        openKernels(1),
        fetch(`models/${model}`),
    ]);
    await pyodide.loadPackage(new URL(manifest.wheels[0], location.href).href);
    pyodide.runPython(script);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const memory = pyodide.globals.get("bytearray")(bytes);
    return pyodide.globals.get("run")(pool, memory);
}"""


def test_answers_beyond_the_context_in_a_pools_memory(
    browser: Browser, site: Path, tiny_models: Path
) -> None:
    with serving(make_server(site, tiny_models)) as address:
        page = browser.new_page()
        # a document of the same origin without the page's Content-Security-Policy
        page.goto(address + "manifest.json")
        arguments = {"script": SCRIPT.read_text(), "model": TINY}
        answers = json.loads(page.evaluate(RUN, arguments))
        page.close()
    for pooled, local in answers.values():
        assert len(set(pooled)) > 5
        assert pooled == local
