"""Models that are kept in the browser, in Chromium and with faults: web/storage/cache.js."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser_helpers import LARGER, TINY, TINY_BASE, call, serving, succeed, wait_until
from model_host import Host
from playwright.sync_api import Browser, BrowserContext, Page

pytest_plugins = ["browser_fixtures"]

BLOCK = 2 << 20
ANSWER = """
    const answer = async (model, options = {}) => {
        const llm = await OxiLlama.load({ model, contextSize: 256, ...options });
        let text = "";
        const sampling = { temperature: 0, repetitionPenalty: 1, maxTokens: 8 };
        for await (const piece of llm.generate("abc", sampling)) text += piece;
        const { cache } = llm.info;
        llm.dispose();
        return { text, ...cache };
    };
"""
# hands out the files of the cache, and those alone
FILES = """
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("oxillama", { create: true });
    const names = async () => {
        const found = [];
        for await (const name of folder.keys()) found.push(name);
        return found.sort();
    };
    const data = async () => (await names()).find((name) => !name.includes("."));
    const change = async (name, edit) => {
        const handle = await folder.getFileHandle(name);
        const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
        const writable = await handle.createWritable();
        await writable.write(edit(bytes) ?? bytes);
        await writable.close();
    };
"""


@pytest.fixture(scope="module")
def host(tiny_models: Path) -> Iterator[str]:
    Host.files = {name: (tiny_models / name).read_bytes() for name in (TINY, TINY_BASE, LARGER)}
    Host.files["page"] = b"<!doctype html><title>Please log in</title>"
    Host.files["broken"] = Host.files[LARGER][:100_000] + bytes(5 << 20)
    Host.files["cut-off"] = Host.files[LARGER][: 3 * BLOCK]
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Host)) as address:
        yield address


@pytest.fixture
def profile(browser: Browser) -> Iterator[BrowserContext]:
    Host.asked.clear()
    Host.etag = '"one"'
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def visit(profile: BrowserContext, url: str) -> Page:
    return open_page(profile, url)


def open_page(profile: BrowserContext, url: str) -> Page:
    page = profile.new_page()
    page.goto(url)
    return page


def run(page: Page, body: str, **arguments: Any) -> Any:
    return succeed(page, ANSWER + FILES + body, **arguments)


def load(page: Page, address: str, options: str = "{}") -> dict[str, Any]:
    result: dict[str, Any] = run(page, f"return answer(address, {options});", address=address)
    return result


def kept(page: Page) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = run(
        page, "return (await OxiLlama.cache.list()).map((file) => ({ ...file, savedAt: 0 }));"
    )
    return result


def files(page: Page) -> list[str]:
    result: list[str] = run(page, "return names();")
    return result


def test_a_second_visit_asks_no_server(
    visit: Page, profile: BrowserContext, host: str, url: str
) -> None:
    address = f"{host}versioned/{LARGER}"
    first = load(visit, address)
    assert (first["hit"], first["stored"], first["note"]) == (False, True, "")
    visit.close()
    Host.asked.clear()
    second = load(open_page(profile, url), address)
    assert second == {**first, "hit": True}
    assert Host.asked == []


def test_progress_tells_what_is_left(visit: Page, host: str) -> None:
    body = """
        const seen = [];
        const onProgress = (progress) => seen.push({ ...progress, at: performance.now() / 1000 });
        await answer(address, { onProgress });
        return seen;
    """
    seen = run(visit, body, address=f"{host}crawling/{LARGER}")
    size = len(Host.files[LARGER])
    downloads = [p for p in seen if p["phase"] == "download"]
    assert [p["bytes"] for p in downloads] == sorted(p["bytes"] for p in downloads)
    assert {p["total"] for p in downloads} == {size}
    assert downloads[-1]["bytes"] == size
    guesses = [p for p in downloads[:-1] if p["secondsLeft"] is not None]
    assert len(guesses) > 5
    end = downloads[-1]["at"]
    in_between = [p for p in guesses if p["bytes"] < 0.8 * size]
    # more connections join, so that it takes less than was said at first
    ratios = [p["secondsLeft"] / (end - p["at"]) for p in in_between]
    assert min(ratios) > 0.3, ratios
    assert max(ratios) < 5, ratios
    again = run(visit, body, address=f"{host}crawling/{LARGER}")
    reads = [p for p in again if p["phase"] == "read"]
    assert reads[-1]["bytes"] == reads[-1]["total"] == size
    assert {p["phase"] for p in again} == {"runtime", "read", "load"}


def test_list_usage_delete_and_clear(visit: Page, host: str) -> None:
    address = host + "versioned/"
    for name in (TINY, TINY_BASE):
        load(visit, address + name)
    listed = kept(visit)
    sizes = {name: len(Host.files[name]) for name in (TINY, TINY_BASE)}
    assert {file["url"]: file["bytes"] for file in listed} == {
        address + name: size for name, size in sizes.items()
    }
    assert all(file["complete"] and file["size"] == file["bytes"] for file in listed)
    usage = run(visit, "return OxiLlama.cache.usage();")
    assert usage["files"] == 2
    assert usage["bytes"] == sum(sizes.values())
    assert usage["available"] > 1e6
    deleted = "return [await OxiLlama.cache.delete(address), await OxiLlama.cache.delete(address)];"
    assert run(visit, deleted, address=address + TINY) == [True, False]
    assert [file["url"] for file in kept(visit)] == [address + TINY_BASE]
    run(visit, "await OxiLlama.cache.clear();")
    assert kept(visit) == []
    assert files(visit) == []


@pytest.mark.parametrize(
    ("damage", "good"),
    [
        ("change(await data(), (bytes) => { bytes[5e6] ^= 1; })", 2 * BLOCK),
        ("change(await data(), (bytes) => { bytes[0] ^= 1; })", 0),
        ("change(await data(), (bytes) => { bytes[bytes.length - 1] ^= 1; })", "last"),
        ("change(await data(), (bytes) => bytes.slice(0, 3e6))", BLOCK),
        ("folder.removeEntry(await data())", 0),
        ("folder.removeEntry((await data()) + '.json')", 0),
        ("change((await data()) + '.json', () => new TextEncoder().encode('{\"format\": 1'))", 0),
        ("change((await data()) + '.json', () => new TextEncoder().encode('null'))", 0),
    ],
)
def test_what_is_damaged_comes_again(visit: Page, host: str, damage: str, good: int | str) -> None:
    address = f"{host}versioned/{LARGER}"
    size = len(Host.files[LARGER])
    first = load(visit, address)
    run(visit, f"await {damage};")
    Host.asked.clear()
    again = load(visit, address)
    assert again["text"] == first["text"]
    start = size // BLOCK * BLOCK if good == "last" else good
    assert Host.asked == [f"versioned/{LARGER} bytes={start}-"]
    Host.asked.clear()
    assert load(visit, address) == {**first, "hit": True}
    assert Host.asked == []


def test_a_damaged_copy_of_an_old_version_is_deleted(visit: Page, host: str) -> None:
    address = f"{host}versioned/{LARGER}"
    load(visit, address)
    run(visit, "await change(await data(), (bytes) => { bytes[5e6] ^= 1; });")
    Host.etag = '"two"'
    result = call(visit, "await OxiLlama.load({ model: address });", address=address)
    assert result["code"] == "network"
    assert "has another version by now: load it again" in result["message"]
    assert files(visit) == []
    assert load(visit, address)["stored"]


def test_a_download_that_broke_off_goes_on(
    visit: Page, profile: BrowserContext, host: str, url: str
) -> None:
    address = f"{host}cut/{LARGER}"
    Host.cut_after = 3 * BLOCK + 1000
    result = call(visit, "await OxiLlama.load({ model: address });", address=address)
    assert result["code"] == "http", result
    [file] = kept(visit)
    assert (file["bytes"], file["complete"]) == (3 * BLOCK, False)
    visit.close()
    Host.asked.clear()
    Host.cut_after = 1 << 30
    page = open_page(profile, url)
    assert load(page, address)["stored"]
    assert Host.asked == [f"cut/{LARGER} bytes={3 * BLOCK}-"]
    assert kept(page)[0]["complete"]
    # what came in two pieces is the file
    assert load(page, address)["text"] == load(page, f"{host}versioned/{LARGER}")["text"]


def test_a_part_of_another_version_is_not_continued(visit: Page, host: str) -> None:
    address = f"{host}cut/{LARGER}"
    Host.cut_after = 3 * BLOCK + 1000
    call(visit, "await OxiLlama.load({ model: address });", address=address)
    assert len(kept(visit)) == 1
    Host.cut_after, Host.etag = 1 << 30, '"two"'
    Host.asked.clear()
    assert load(visit, address)["stored"]
    assert Host.asked == [f"cut/{LARGER} bytes={3 * BLOCK}-", f"cut/{LARGER} bytes=0-"]


def test_the_server_is_asked_where_that_is_wanted(visit: Page, host: str) -> None:
    address = f"{host}versioned/{TINY}"
    first = load(visit, address)
    Host.asked.clear()
    assert load(visit, address, "{ cache: 'check' }")["hit"]
    assert Host.asked == [f"HEAD versioned/{TINY}"]
    Host.etag = '"two"'
    assert load(visit, address)["hit"]
    assert load(visit, address, "{ cache: 'check' }") == first
    assert load(visit, address, "{ cache: 'check' }")["hit"]


def test_nothing_is_kept_where_that_is_wanted(visit: Page, host: str) -> None:
    result = load(visit, f"{host}versioned/{TINY}", "{ cache: 'off' }")
    assert (result["hit"], result["stored"]) == (False, False)
    assert files(visit) == []


@pytest.mark.parametrize("kind", ["versioned", "chunked"])
def test_a_full_quota_is_no_obstacle(visit: Page, host: str, url: str, kind: str) -> None:
    session = visit.context.new_cdp_session(visit)
    session.send("Storage.overrideQuotaForOrigin", {"origin": url.rstrip("/"), "quotaSize": 8e6})
    address = f"{host}{kind}/{LARGER}"
    result = load(visit, address)
    assert not result["stored"]
    assert "not kept: the browser gives this page no more storage" in result["note"]
    assert files(visit) == []
    session.send("Storage.overrideQuotaForOrigin", {"origin": url.rstrip("/")})
    assert load(visit, address)["stored"]


@pytest.mark.parametrize(
    ("name", "code"), [("page", "not_gguf"), ("broken", "bad_model"), ("cut-off", "bad_model")]
)
def test_a_broken_file_is_not_kept(visit: Page, host: str, name: str, code: str) -> None:
    result = call(
        visit, "await OxiLlama.load({ model: address });", address=f"{host}versioned/{name}"
    )
    assert result["code"] == code, result
    assert files(visit) == []


def test_a_file_that_is_no_tokenizer_is_not_kept(visit: Page, host: str) -> None:
    address = host + "versioned/"
    result = call(
        visit,
        "await OxiLlama.load({ model: address + model, tokenizer: address + 'page' });",
        address=address,
        model=TINY,
    )
    assert result["code"] == "tokenizer"
    assert files(visit) == []


def test_two_tabs_at_once(visit: Page, profile: BrowserContext, host: str, url: str) -> None:
    other = open_page(profile, url)
    address = f"{host}crawling/{LARGER}"
    started = "window.loading = answer(address).catch((error) => ({ code: error.code }));"
    run(visit, started, address=address)
    while not Host.asked:
        visit.wait_for_timeout(20)
    busy = call(visit, "await OxiLlama.cache.delete(address);", address=address)
    assert busy["code"] == "busy"
    second = load(other, address)
    first = run(visit, "return window.loading;")
    assert first["text"] == second["text"]
    assert (first["stored"], second["stored"]) == (True, False)
    assert "another tab" in second["note"]
    assert kept(other)[0]["complete"]
    both = "return Promise.all([answer(address), answer(address)]);"
    assert [result["hit"] for result in run(other, both, address=address)] == [True, True]


def test_a_tab_closed_in_mid_load_leaves_nothing_broken(
    visit: Page, profile: BrowserContext, host: str, url: str
) -> None:
    slow, fast = (f"{host}{kind}/{LARGER}" for kind in ("slow", "versioned"))
    run(visit, "answer(address).catch(() => {});", address=slow)
    visit.wait_for_timeout(1800)
    visit.close()
    page = open_page(profile, url)
    assert not any(file["complete"] for file in kept(page))
    expected = load(page, fast)["text"]
    assert load(page, slow)["text"] == expected
    assert all(file["complete"] for file in kept(page))
    assert load(page, slow)["hit"]


def test_a_load_that_is_stopped_goes_on_next_time(visit: Page, host: str) -> None:
    address = f"{host}slow/{LARGER}"
    result = call(
        visit,
        """
        const stop = new AbortController();
        const onProgress = ({ bytes }) => bytes > 2 * block && stop.abort();
        await OxiLlama.load({ model: address, signal: stop.signal, onProgress });
        """,
        address=address,
        block=BLOCK,
    )
    assert result["code"] == "aborted"
    # the worker writes its last record after it has answered; a record under way is not listed
    wait_until(visit, lambda: sum(file["bytes"] for file in kept(visit)) >= BLOCK, 10)
    wait_until(visit, lambda: kept(visit) == kept(visit) != [], 10)
    [file] = kept(visit)
    assert file["bytes"] >= BLOCK
    assert not file["complete"]
    Host.asked.clear()
    assert load(visit, address)["stored"]
    assert Host.asked[0] == f"slow/{LARGER} bytes={file['bytes']}-"


def test_parts_and_tokenizers_are_kept_too(visit: Page, host: str, tmp_path: Path) -> None:
    from gguf_files import split_model, write_tiny_llama

    write_tiny_llama(tmp_path / "whole.gguf")
    paths = split_model(tmp_path / "whole.gguf", tmp_path, 2)
    Host.files |= {path.name: path.read_bytes() for path in paths}
    address = f"{host}versioned/{paths[0].name}"
    first = load(visit, address)
    assert first["stored"]
    assert len(kept(visit)) == 2
    Host.asked.clear()
    assert load(visit, address) == {**first, "hit": True}
    assert Host.asked == []
