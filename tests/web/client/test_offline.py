"""The page without a network, in Chromium: kept at the first visit, opened without a server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import LOAD_TIMEOUT_MS, TINY
from page_helpers import ask, change_settings, last_answer, open_bundled
from paths import ROOT
from playwright.sync_api import Browser, Page, expect

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

GREEDY = {"temperature": "0", "repetitionPenalty": "1", "maxTokens": "8"}


@pytest.fixture
def fresh_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


class ServerProcess:
    """A server that can be killed, with all of its connections."""

    def __init__(self, site: Path, models: Path, isolate: bool) -> None:
        script = (
            f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r})\n"
            "from pathlib import Path; from serve import make_server\n"
            f"server = make_server(Path({str(site)!r}), Path({str(models)!r}), isolate={isolate})\n"
            "print(server.server_port, flush=True); server.serve_forever()\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def wait_until_kept(page: Page) -> None:
    # CSP forbids wait_for_function's eval
    for _ in range(200):
        kept = page.evaluate(
            """async () => [
                await caches.match("page/app.js"), await caches.match("models/models.json"),
            ].every((response) => response !== undefined)"""
        )
        if kept:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the page was not kept")


@pytest.mark.parametrize("isolate", [True, False])
def test_a_second_visit_needs_no_network(
    fresh_page: Page, site: Path, tiny_models: Path, isolate: bool
) -> None:
    page = fresh_page
    server = ServerProcess(site, tiny_models, isolate)
    try:
        page.goto(server.address)
        expect(page.locator("#bundled-models button").first).to_be_visible()
        page.wait_for_timeout(500)  # where the headers are missing the page loads itself anew
        open_bundled(page)
        change_settings(page, GREEDY)
        ask(page, "abc")
        answer = last_answer(page)
        wait_until_kept(page)
    finally:
        server.kill()
    page.goto(server.address)
    assert page.evaluate("window.crossOriginIsolated") is True
    open_bundled(page)
    ask(page, "abc")
    assert last_answer(page) == answer
    assert page.locator("#conversations .conversation").all_text_contents() == ["abc", "abc"]
    # what was never fetched says so
    page.click("#change-model")
    expect(page.locator("#kept-models li")).to_have_count(1)
    page.fill("#url", server.address + "models/other.gguf")
    page.click("#url-form button")
    expect(page.get_by_role("alert")).to_contain_text("connection", timeout=LOAD_TIMEOUT_MS)


def test_models_of_other_hosts_are_listed_and_deleted(page: Page, faults: str) -> None:
    page.fill("#url", faults + "whole")
    page.keyboard.press("Enter")
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    page.click("#change-model")
    kept = page.locator("#kept-models li")
    expect(kept).to_have_count(1)
    expect(kept).to_contain_text("whole")
    expect(page.locator("#storage")).to_contain_text("MB on this device")
    kept.get_by_role("button", name="whole", exact=False).first.click()
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    page.click("#change-model")
    # the worker that had it open has to end first
    for _ in range(50):
        if kept.count() == 0:
            break
        page.get_by_role("button", name="Delete whole").click()
        page.wait_for_timeout(200)
    expect(page.locator("#kept")).to_be_hidden()
    assert TINY not in page.evaluate("async () => JSON.stringify(await caches.keys())")


def test_the_page_can_be_installed(page: Page, url: str) -> None:
    manifest = page.evaluate(
        """async () => {
            const link = document.querySelector("link[rel=manifest]");
            return await (await fetch(link.href)).json();
        }"""
    )
    assert manifest["display"] == "standalone" and manifest["start_url"] == "./"
    for icon in manifest["icons"]:
        size = page.evaluate(
            """async (src) => {
                const image = new Image();
                image.src = src;
                await image.decode();
                return [image.naturalWidth, image.naturalHeight];
            }""",
            url + icon["src"],
        )
        if icon["sizes"] != "any":
            assert size == [int(n) for n in icon["sizes"].split("x")]
