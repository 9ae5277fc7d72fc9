"""The service worker that isolates the page where its host sends no headers, in Chromium."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import call, serving, site_without_isolation
from playwright.sync_api import Browser, Error, Page
from serve import make_server

pytest_plugins = ["browser_fixtures"]


@pytest.fixture
def fresh_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_a_page_without_headers_isolates_itself_and_gets_threads(
    fresh_page: Page, site: Path, tiny_models: Path
) -> None:
    with serving(make_server(site, tiny_models, isolate=False)) as address:
        fresh_page.goto(address)
        wait_for_isolation(fresh_page)
        result = call(
            fresh_page,
            """
            const llm = await OxiLlama.load({ model: tinyUrl, threads: 2 });
            const { info } = llm;
            llm.dispose();
            return { ...info, tried: sessionStorage.length };
            """,
        )
        # the next visit needs no second start
        loads = []
        fresh_page.on("load", lambda page: loads.append(page.url))
        fresh_page.goto(address)
        fresh_page.wait_for_timeout(300)
        isolated = fresh_page.evaluate("window.crossOriginIsolated")
    assert result["threads"] == 2
    assert result["isolated"] is True
    assert result["tried"] == 0
    assert isolated is True
    assert len(loads) == 1


def wait_for_isolation(page: Page) -> None:
    """The page loads itself once more, at a moment of its choice."""
    for _ in range(100):
        with contextlib.suppress(Error):  # the page that was asked is just being left
            if page.evaluate("window.crossOriginIsolated"):
                page.wait_for_load_state()
                return
        page.wait_for_timeout(100)
    raise AssertionError("the page was never isolated")


def test_the_switch_leaves_the_page_as_its_host_serves_it(
    fresh_page: Page, site: Path, tiny_models: Path
) -> None:
    copy = site_without_isolation(site, tiny_models)
    with serving(make_server(copy, tiny_models, isolate=False)) as address:
        fresh_page.goto(address)
        fresh_page.wait_for_timeout(500)
        state = fresh_page.evaluate(
            """async () => [
                window.crossOriginIsolated,
                (await navigator.serviceWorker.getRegistrations()).length,
            ]"""
        )
    assert state == [False, 0]


def test_a_page_whose_service_worker_fails_works_with_one_thread(
    fresh_page: Page, site: Path, tiny_models: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (copy / "sw.js").write_text("throw new Error('no service worker today');")
    with serving(make_server(copy, tiny_models, isolate=False)) as address:
        fresh_page.goto(address)
        result = call(
            fresh_page,
            """
            const llm = await OxiLlama.load({ model: tinyUrl });
            const { info } = llm;
            llm.dispose();
            return info;
            """,
        )
    assert result["threads"] == 1
    assert result["isolated"] is False
