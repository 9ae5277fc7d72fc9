"""Times one engine in a fresh Chromium, driven by Playwright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.machine import peak_memory
from tools.chromium import FLAGS, find_chromium

PAGES = Path(__file__).resolve().parent / "pages"


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
            page.wait_for_function("window.benchResult", timeout=timeout * 1000)
            result: dict[str, Any] = page.evaluate("window.benchResult")
            if "error" in result:
                raise RuntimeError(result["error"])
            renderers = _renderers(browser)
            return {
                "version": result["version"],
                "browser": f"Chromium {browser.version}",
                "ready_seconds": result["readySeconds"],
                "prefill_tokens_per_second": result["prefillTokensPerSecond"],
                "decode_tokens_per_second": result["decodeTokensPerSecond"],
                "prompt_tokens": result["promptTokens"],
                "decode_tokens": result["decodeTokens"],
                "peak_memory_bytes": max(peak_memory(process["id"]) for process in renderers),
                "renderer_cpu_seconds": sum(process["cpuTime"] for process in renderers),
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
