"""web/worker/runtime.js, in Chromium: how Python starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from browser_helpers import COLLECT, GREEDY, call, serving, take_gz_for_an_encoding
from playwright.sync_api import Browser
from serve import make_server

pytest_plugins = ["browser_fixtures"]


@pytest.mark.parametrize(
    ("snapshot", "isolate"),
    [("missing", True), ("broken", True), ("none", True), ("whole", False), ("encoded", True)],
)
def test_the_page_works_without_snapshot_or_isolation(
    browser: Browser, site: Path, tiny_models: Path, tmp_path: Path, snapshot: str, isolate: bool
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    if snapshot == "missing":
        (copy / manifest["snapshot"]).unlink()
    elif snapshot == "broken":
        (copy / manifest["snapshot"]).write_bytes(b"\x1f\x8b broken")
    elif snapshot == "none":
        (copy / "manifest.json").write_text(json.dumps({**manifest, "snapshot": None}))
    server = make_server(copy, tiny_models, isolate=isolate)
    if snapshot == "encoded":
        take_gz_for_an_encoding(server)
    with serving(server) as address:
        page = browser.new_page(service_workers="block")  # which would isolate it
        page.goto(address)
        assert page.evaluate("crossOriginIsolated") is isolate
        result = call(
            page,
            COLLECT
            + f"""
            const llm = await OxiLlama.load({{ model: tinyUrl }});
            const text = await collect(llm.generate("abc", {GREEDY}));
            const {{ snapshot }} = llm.info.startup;
            llm.dispose();
            return {{ text, snapshot }};
            """,
        )
        page.close()
    assert result.get("code") is None, result
    assert result["text"]
    assert result["snapshot"] is (snapshot in ("whole", "encoded"))


def test_a_missing_runtime_is_told_in_words(
    browser: Browser, site: Path, tiny_models: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (copy / "pyodide" / "pyodide.mjs").unlink()
    with serving(make_server(copy, tiny_models)) as address:
        page = browser.new_page()
        page.goto(address)
        result = call(page, "await OxiLlama.load({ model: tinyUrl });")
        page.close()
    assert result["code"] == "runtime"
    assert "Python could not be started" in result["message"]


@pytest.mark.slow
def test_the_model_lies_outside_of_pythons_memory(
    browser: Browser, site: Path, smollm2_path: Path
) -> None:
    with serving(make_server(site, smollm2_path.parent)) as address:
        page = browser.new_page()
        page.goto(address)
        result = call(
            page,
            """
            const llm = await OxiLlama.load({ model: "models/" + file, contextSize: 256 });
            const { heapBytes, memoryBytes } = llm.info;
            llm.dispose();
            return { heapBytes, memoryBytes };
            """,
            file=smollm2_path.name,
        )
        page.close()
    assert result["heapBytes"] < 64e6
    assert result["memoryBytes"] > 90e6
