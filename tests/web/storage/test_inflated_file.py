"""A file of this package that the browser keeps inflated: web/storage/inflated_file.js."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser_helpers import TINY, call
from playwright.sync_api import Browser, BrowserContext, Page, Request

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

START = """
    const llm = await OxiLlama.load({ model, cache: "off" });
    let text = "";
    const sampling = { temperature: 0, repetitionPenalty: 1, maxTokens: 4 };
    for await (const piece of llm.generate("abc", sampling)) text += piece;
    const { snapshot } = llm.info.startup;
"""
FOLDER = """
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("oxillama-runtime", { create: true });
    const list = async () => {
        const sizes = {};
        for await (const [name, handle] of folder.entries()) {
            // a record that is being written is there twice for a moment
            const file = await handle.getFile().catch(() => null);
            if (file === null || name.endsWith(".crswap")) continue;
            sizes[name] = name.endsWith(".json") ? null : file.size; // records change
        }
        return sizes;
    };
    const record = async () => {
        if (!Object.values(await list()).some((size) => size > 20e6)) return null;
        for (const name of Object.keys(await list())) {
            if (!name.endsWith(".json")) continue;
            const read = async () => (await (await folder.getFileHandle(name)).getFile()).text();
            const text = await read().catch(() => "");
            if (text.includes('"complete":true')) return JSON.parse(text);
        }
        return null;
    };
    const kept = async (isDone = () => true) => {
        const end = performance.now() + 20000;
        for (let found = null; performance.now() < end; found = await record()) {
            if (found !== null && isDone(found)) break;
            await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return list();
    };
"""
DAMAGE = """
    const names = Object.keys(await list());
    const name = names.find((name) => !name.endsWith(".json"));
    const writable = await (await folder.getFileHandle(name)).createWritable();
    await writable.write(new Uint8Array(1000));
    await writable.close();
"""


@pytest.fixture
def profile(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


def test_the_second_start_fetches_no_snapshot(profile: BrowserContext, url: str) -> None:
    fetched: list[str] = []

    def note(request: Request) -> None:
        if "snapshot-" in request.url:
            fetched.append(request.url)

    profile.on("request", note)
    first = start(profile, url, "return { text, snapshot, files: await kept() };")
    assert first["snapshot"]
    assert len(fetched) == 1
    assert sorted(size is None or size > 20e6 for size in first["files"].values()) == [True, True]

    second = start(profile, url, "return { text, snapshot, files: await list() };")
    assert second == first
    assert len(fetched) == 1

    # a damaged one is replaced
    start(profile, url, DAMAGE + "return {};")
    third = start(profile, url, "return { text, snapshot, files: await kept() };")
    assert third == first
    assert len(fetched) == 2
    assert start(profile, url, "return { text, snapshot, files: await kept() };") == first
    assert len(fetched) == 2


def test_other_versions_go_and_models_do_not(profile: BrowserContext, url: str) -> None:
    older = """
        const root = await navigator.storage.getDirectory();
        const handle = await root.getDirectoryHandle("oxillama-runtime", { create: true });
        await handle.getFileHandle("older.json", { create: true });
        await handle.getFileHandle("older", { create: true });
        const llm = await OxiLlama.load({ model });
        llm.dispose();
        return {};
    """
    page = profile.new_page()
    page.goto(url)
    assert call(page, older, model=f"models/{TINY}") == {}
    page.close()
    body = """
        const files = Object.keys(await kept());
        return { files, listed: (await OxiLlama.cache.list()).map(({ url }) => url) };
    """
    result = start(profile, url, body)
    assert len(result["files"]) == 2
    assert not any(name.startswith("older") for name in result["files"])
    assert result["listed"] == [f"{url}models/{TINY}"]


def test_starts_are_counted(profile: BrowserContext, url: str) -> None:
    for count in range(1, 4):
        counted = """
            await kept(({ uses }) => uses >= count);
            return { uses: (await record()).uses };
        """
        assert start(profile, url, f"const count = {count};" + counted)["uses"] == count


def start(profile: BrowserContext, url: str, body: str) -> dict[str, Any]:
    page: Page = profile.new_page()
    page.goto(url)
    result: dict[str, Any] = call(page, START + FOLDER + body, model=f"models/{TINY}")
    page.close()
    assert result.get("code") is None, result
    return result
