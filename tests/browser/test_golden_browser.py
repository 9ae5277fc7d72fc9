"""The kernels in Chromium against llama.cpp's reference outputs, with each wasm library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import serving
from linear_driver import build
from paths import GOLDEN, HELPERS, ROOT
from playwright.sync_api import Browser
from serve import make_server

from oxillama_web.backends.kernels.library import RELAXED_DOT

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.browser]

MODELS = {"smollm2": "smollm2-135m-instruct", "gemma3": "gemma-3-270m"}

# Pyodide in the page's own thread; the model goes straight into a bytearray of the right size.
RUN = """async ({ variant, script, model, golden }) => {
    const { loadPyodide } = await import("./pyodide/pyodide.mjs");
    const manifest = await (await fetch("manifest.json")).json();
    const pyodide = await loadPyodide({
        lockFileContents: JSON.stringify(manifest.lock),
        packageBaseUrl: new URL("wheels/", location.href).href,
        env: { OXILLAMA_KERNELS: variant },
    });
    await pyodide.loadPackage(new URL(manifest.wheels[0], location.href).href);
    const response = await fetch(`models/${model}`);
    pyodide.runPython(script);
    const memory = pyodide.runPython(`bytearray(${response.headers.get("Content-Length")})`);
    let offset = 0;
    const reader = response.body.getReader();
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
        const buffer = memory.getBuffer();
        buffer.data.set(chunk.value, offset);
        buffer.release();
        offset += chunk.value.length;
    }
    return pyodide.globals.get("run")(memory, golden);
}"""


@pytest.fixture(scope="module")
def models_url(site: Path, smollm2_path: Path, gemma3_path: Path) -> Iterator[str]:
    assert smollm2_path.parent == gemma3_path.parent
    with serving(make_server(site, smollm2_path.parent)) as address:
        yield address


@pytest.mark.parametrize("variant", list(build.WASM_ISAS))
@pytest.mark.parametrize("model", MODELS)
def test_kernels_in_chromium_stray_no_further_than_llama_cpp(
    browser: Browser, models_url: str, request: pytest.FixtureRequest, model: str, variant: str
) -> None:
    golden = (GOLDEN / f"{MODELS[model]}.json").read_text()
    page = browser.new_page()
    # a document of the same origin without the page's Content-Security-Policy
    page.goto(models_url + "manifest.json")
    arguments = {
        "variant": variant,
        "script": (HELPERS / "golden_in_pyodide.py").read_text(),
        "model": request.getfixturevalue(f"{model}_path").name,
        "golden": golden,
    }
    results = json.loads(page.evaluate(RUN, arguments))
    page.close()
    if results["executor"] != f"kernels-{variant}":
        # on some processors relaxed SIMD gives other numbers; the plain library takes its place,
        # which is a case of its own here
        assert results == {"executor": "kernels-simd128", "cases": []}
        return
    for case, result in zip(json.loads(golden)["cases"], results["cases"], strict=True):
        assert result["same_ids"]
        assert result["kl"] < max(1.1 * case["llamacpp_kl"], 1e-4)
        assert result["wrong"] == []


def test_the_probe_multiplies_in_chromium_and_is_the_one_of_the_page(browser: Browser) -> None:
    page = browser.new_page()
    small, large = page.evaluate(
        """async (bytes) => {
            const { instance } = await WebAssembly.instantiate(new Uint8Array(bytes));
            const { dot } = instance.exports;
            return [dot(255, 127), dot(127, 255)];
        }""",
        list(RELAXED_DOT),
    )
    page.close()
    assert small == -4 * 127
    # vpdpbusd, sdot, vpmaddubsw
    assert large in (4 * 127 * 255, -4 * 127, 2 * 32767)
    source = (ROOT / "web" / "kernels" / "pool.js").read_text()
    written = re.search(r"RELAXED_DOT = new Uint8Array\(\[(.*?)\]\)", source, re.DOTALL)
    assert written is not None
    assert bytes(int(byte, 16) for byte in re.findall(r"0x\w\w", written[1])) == RELAXED_DOT
