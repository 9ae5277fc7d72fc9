"""Fixtures for tests in Chromium: the built site, servers, and a page that must not misbehave.

A test module takes them with `pytest_plugins = ["browser_fixtures"]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from browser_helpers import CHAT_TEMPLATE, LARGER, TINY, TINY_BASE, FaultyHandler, serving
from chromium import FLAGS, find_chromium
from gguf_files import write_tiny_llama
from make_wheel import TAG
from paths import ROOT
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serve import make_server

# what a page shows may take this long on a machine that runs other tests beside
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def site() -> Path:
    """build/site, made anew from the sources."""
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([ROOT / "build_wasm.sh"], check=True, cwd=ROOT, env=environment)
    return ROOT / "build" / "site"


@pytest.fixture(scope="session")
def wheel(site: Path) -> Path:
    """The package's wheel for Pyodide, as the site has it."""
    version = json.loads((site / "manifest.json").read_text())["version"]
    return ROOT / "dist" / f"oxillama_web-{version}-{TAG}.whl"


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models of random weights: tiny ones, and one that takes its time."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_llama(folder / TINY, context_length=4096, chat_template=CHAT_TEMPLATE)
    write_tiny_llama(folder / TINY_BASE, context_length=4096)
    write_tiny_llama(
        folder / LARGER, n_layers=12, width=256, ffn=1024, context_length=8192,
        chat_template=CHAT_TEMPLATE,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def url(site: Path, tiny_models: Path) -> Iterator[str]:
    """The address of the page, with the tiny model in models/."""
    with serving(make_server(site, tiny_models)) as address:
        yield address


@pytest.fixture(scope="session")
def faults(tiny_models: Path) -> Iterator[str]:
    """The address of a server that does all the wrong things; another origin than the page's."""
    FaultyHandler.model = (tiny_models / TINY).read_bytes()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), FaultyHandler)) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, url: str, faults: str) -> Iterator[Page]:
    """The page in a fresh profile. Uncaught errors and requests to strangers fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    uncaught: list[str] = []
    foreign: list[str] = []

    def look_at(address: str) -> None:
        if not address.startswith((url, faults, "blob:", "data:")):
            foreign.append(address)

    page.on("pageerror", lambda error: uncaught.append(str(error)))
    context.on("request", lambda request: look_at(request.url))
    page.goto(url)
    yield page
    context.close()
    assert uncaught == []
    assert foreign == []
