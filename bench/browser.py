"""Times one engine in a fresh Chromium, driven by Playwright."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.machine import ROOT, PeakMemory
from tools.chromium import FLAGS, find_chromium

# asked at every frame, as Playwright does otherwise, the page would take a twentieth of a core
POLL_MS = 250
PAGES = Path(__file__).resolve().parent / "pages"
NPM = ROOT / "build" / "bench" / "npm" / "node_modules"
# the page's module of each engine
ENGINES = {"oxillama_web": "ours", "wllama 2.2.1": "wllama2", "wllama 3.13.0": "wllama3"}


def routes(models: Iterable[Path]) -> dict[str, Path]:
    """What bench.server serves; the models are /model-0.gguf, /model-1.gguf ..."""
    return {
        "pages": PAGES,
        "site": ROOT / "build" / "site",
        "wllama-2.2.1": NPM / "wllama-2.2.1",
        "wllama-3.13.0": NPM / "wllama-3.13.0",
        **{f"model-{i}.gguf": path for i, path in enumerate(models)},
    }


def start_page(address: str, job: dict[str, Any], profile: Path, stay: float) -> dict[str, Any]:
    """Visit the page with what earlier visits with this profile left in the browser's caches.

    Returns the seconds from the start of the navigation to `ready` and to the `first token`; the
    page stays open for `stay` seconds after it, for an engine that keeps something afterwards.
    Raises RuntimeError with the page's own message if the engine fails.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=find_chromium(), args=list(FLAGS), headless=True
        )
        try:
            page = context.new_page()
            fragment = quote(json.dumps(job | {"start_only": True}))
            page.goto(f"{address}/pages/index.html#{fragment}", wait_until="commit")
            page.wait_for_function("window.benchResult", timeout=120_000)
            result: dict[str, Any] = page.evaluate("window.benchResult")
            if "error" in result:
                raise RuntimeError(result["error"])
            page.wait_for_timeout(1000 * stay)
            return {"ready": result["readySeconds"], "first token": result["firstTokenSeconds"]}
        finally:
            context.close()


def run_page(address: str, job: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Open the page with ``job`` in a new browser; return its figures and the renderer's peak.

    Raises RuntimeError with the page's own message if the engine fails or takes longer than
    ``timeout`` seconds.
    """
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        try:
            page = browser.new_page()
            page.goto(f"{address}/pages/index.html#{quote(json.dumps(job))}", wait_until="commit")
            with PeakMemory(process["id"] for process in _renderers(browser)) as peak:
                page.wait_for_function(
                    "window.benchResult", timeout=timeout * 1000, polling=POLL_MS
                )
            result: dict[str, Any] = page.evaluate("window.benchResult")
            if "error" in result:
                raise RuntimeError(result["error"])
            return {
                "version": result["version"],
                "browser": f"Chromium {browser.version}",
                "ready_seconds": result["readySeconds"],
                "prefill_tokens_per_second": result["prefillTokensPerSecond"],
                "decode_tokens_per_second": result["decodeTokensPerSecond"],
                "prompt_tokens": result["promptTokens"],
                "decode_tokens": result["decodeTokens"],
                "peak_memory_bytes": peak.largest,
                "renderer_cpu_seconds": sum(process["cpuTime"] for process in _renderers(browser)),
            }
        except Error as error:
            raise RuntimeError(str(error)) from error
        finally:
            browser.close()


def _renderers(browser: Any) -> list[dict[str, Any]]:
    """List the renderers (id, cpuTime in seconds); ours is the one with the largest peak."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    return [process for process in processes if process["type"] == "renderer"]
