"""The kernels in Chromium against llama.cpp's reference outputs, with both wasm libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import serving
from playwright.sync_api import Browser
from serve import make_server

from oxillama_web.executors.library import RELAXED_SIMD_PROBE

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.browser]

TESTS = Path(__file__).parent
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


@pytest.mark.parametrize("variant", ["simd128", "relaxed"])
@pytest.mark.parametrize("model", MODELS)
def test_kernels_in_chromium_stray_no_further_than_llama_cpp(
    browser: Browser, models_url: str, request: pytest.FixtureRequest, model: str, variant: str
) -> None:
    golden = (TESTS / "golden" / f"{MODELS[model]}.json").read_text()
    page = browser.new_page()
    # a document of the same origin without the page's Content-Security-Policy
    page.goto(models_url + "manifest.json")
    arguments = {
        "variant": variant,
        "script": (TESTS / "golden_in_pyodide.py").read_text(),
        "model": request.getfixturevalue(f"{model}_path").name,
        "golden": golden,
    }
    results = json.loads(page.evaluate(RUN, arguments))
    page.close()
    # on some processors relaxed SIMD gives other numbers, and the plain library takes its place
    assert results["executor"] in {f"kernels-{variant}", "kernels-simd128"}
    for case, result in zip(json.loads(golden)["cases"], results["cases"], strict=True):
        assert result["same_ids"]
        assert result["kl"] < max(1.1 * case["llamacpp_kl"], 1e-4)
        assert result["wrong"] == []


def test_chromium_takes_the_probe_for_relaxed_simd(browser: Browser) -> None:
    page = browser.new_page()
    assert page.evaluate(
        "(bytes) => WebAssembly.validate(new Uint8Array(bytes))", list(RELAXED_SIMD_PROBE)
    )
    page.close()
