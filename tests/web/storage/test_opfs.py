"""Calls of the browser's file system whose handle nobody holds: web/storage/opfs.js."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tools.chromium import FLAGS, find_chromium

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

# collects garbage while the browser works on its answer; what the minifier of an app makes of our
# code holds no more than this
WORKER = """
    import { withHandle } from "./storage/opfs.js";
    const root = await navigator.storage.getDirectory();
    await root.getFileHandle("file", { create: true });
    const asked = [];
    const call = async () => {
        let handle = await root.getFileHandle("file");
        asked.push(withHandle(handle, (handle) => handle.createSyncAccessHandle()));
        handle = null;
    };
    await call();
    for (let i = 0; i < 3; i++) gc();
    (await asked[0]).close();
    postMessage("answered");
"""
HEADERS = {"Content-Type": "text/javascript", "Cross-Origin-Embedder-Policy": "require-corp"}
ASK = """(address) => new Promise((resolve) => {
    const worker = new Worker(address, { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => resolve(`failed: ${message}`);
    setTimeout(() => resolve("never answered"), 5000);
})"""


def test_an_answer_comes_though_nobody_holds_the_handle(browser: Browser, url: str) -> None:
    flags = [*FLAGS, "--js-flags=--expose-gc"]
    with browser.browser_type.launch(executable_path=find_chromium(), args=flags) as collecting:
        context = collecting.new_context(service_workers="block")
        context.route("**/ask.js", lambda route: route.fulfill(body=WORKER, headers=HEADERS))
        page = context.new_page()
        page.goto(url)
        assert page.evaluate(ASK, url + "ask.js") == "answered"
