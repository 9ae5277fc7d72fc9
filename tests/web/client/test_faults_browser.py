"""What can go wrong in a page, in Chromium: never a frozen page, never a silent failure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser_helpers import LARGER, LOAD_TIMEOUT_MS, TINY, call, serving
from gguf_files import write_tiny_llama
from gguf_mutations import lying_headers
from model_host import Host
from page_helpers import ask, last_answer, open_bundled
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

N_LIES = 200
LIES_ON_THE_PAGE = 8
HARMFUL = {"version", "tensor count", "key count", "array type", "tensor type", "dimension count",
           "offset"}  # fmt: skip
# speaks to the worker itself, which goes on after a model that it refused
LOAD_ALL = """
    let worker = null;
    let lastId = 0;
    const start = () => {
        worker = new Worker("worker.js", { type: "module", name: `faults-${Math.random()}` });
    };
    const request = (message, transfer = []) => new Promise((resolve) => {
        const id = ++lastId;
        const timer = setTimeout(() => resolve({ code: "frozen", message: "" }), 20_000);
        const end = (result) => (clearTimeout(timer), resolve(result));
        worker.onerror = ({ message }) => end({ code: "crashed", message });
        worker.onmessage = ({ data }) => {
            if (data.id !== id) return;
            if (data.type === "error") end(data.error);
            if (data.type === "done") end({ code: "", message: "" });
        };
        worker.postMessage({ ...message, id }, transfer);
    });
    const load = (buffer) => request({
        type: "load", version: PROTOCOL_VERSION, calledAt: Date.now(),
        model: [{ kind: "buffer", buffer }], tokenizer: null, context: { context_size: 64 },
        threads: 1, cache: "off", memoryBudget: null,
    }, [buffer]);
    const { PROTOCOL_VERSION } = await import("./protocol.js");
    const told = [];
    for (const text of files) {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        if (worker === null) start();
        const started = performance.now();
        const { code, message } = await load(bytes.buffer);
        let answer = null;
        if (code === "") {
            const options = { max_tokens: 3, sampler: { temperature: 0 } };
            answer = await request({ type: "generate", prompt: "abc", options });
        }
        told.push({ code, message, answer, milliseconds: performance.now() - started });
        if (code === "" || ["frozen", "crashed", "worker_died"].includes(code)) {
            worker.terminate();
            worker = null;
        }
    }
    worker?.terminate();
    return told;
"""


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    write_tiny_llama(path, n_layers=1, width=32, n_heads=2, n_kv_heads=1, ffn=32, vocab=260)
    return path.read_bytes()


@pytest.mark.slow
def test_a_header_that_lies_ends_in_one_clear_error(page: Page, small_model: bytes) -> None:
    lies = list(lying_headers(small_model, N_LIES, seed=1))
    files = [base64.b64encode(data).decode() for _, data in lies]
    told = call(page, LOAD_ALL, files=files)
    assert len(told) == N_LIES, told
    refusals = {"bad_model", "unsupported_model", "tokenizer", "not_gguf", "out_of_memory"}
    for (lie, _), result in zip(lies, told, strict=True):
        assert result["code"] in {"", *refusals}, (lie, result)
        assert "Traceback" not in result["message"], (lie, result)
        assert len(result["message"]) < 500, (lie, result)
        if result["answer"] is not None:
            assert result["answer"]["code"] in {"", *refusals, "context_length"}, (lie, result)
    # most numbers matter, and some do not
    assert 0.6 * N_LIES < sum(result["code"] != "" for result in told) < N_LIES


def load_address(page: Page, address: str) -> None:
    page.fill("#url", address)
    page.click("#url-form button")


def error_of(page: Page) -> str:
    """What the page says instead of loading a model; it offers its choices again."""
    alert = page.locator("#start-error")
    expect(alert).to_be_visible(timeout=LOAD_TIMEOUT_MS)
    expect(page.locator("#choices")).to_be_visible()
    words = alert.text_content() or ""
    assert "Traceback" not in words
    assert len(words) < 500
    return words


def kept(page: Page) -> list[Any]:
    result: list[Any] = call(page, "return OxiLlama.cache.list();")
    return result


@pytest.fixture
def host(tiny_models: Path) -> Iterator[str]:
    Host.files = {LARGER: (tiny_models / LARGER).read_bytes()}
    Host.asked.clear()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Host)) as address:
        yield address


@pytest.fixture
def profile(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


def test_files_that_lie_are_told_on_the_page_and_not_kept(
    profile: BrowserContext, url: str, host: str, small_model: bytes
) -> None:
    page = profile.new_page()
    page.goto(url)
    lies = list(lying_headers(small_model, 40, seed=2))
    harmful = [(lie, data) for lie, data in lies if lie.split(" at ")[0] in HARMFUL]
    harmful = harmful[:LIES_ON_THE_PAGE]
    for index, (lie, data) in enumerate(harmful):
        Host.files[f"{index}.gguf"] = data
        load_address(page, f"{host}versioned/{index}.gguf")
        assert error_of(page), lie
    assert kept(page) == []
    open_bundled(page)


WRONG_TYPES = {
    "picture.gguf": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "archive.gguf": b"PK\x03\x04" + bytes(5000),
    "model.safetensors": (200).to_bytes(8, "little") + b'{"weight": {"dtype": "F16"}}',
    "old.bin": b"lmgg" + bytes(5000),
    "notes.txt": "Grüße".encode(),
    "empty.gguf": b"",
}


def test_files_of_other_types_are_told_on_the_page(page: Page, tmp_path: Path) -> None:
    for name, content in WRONG_TYPES.items():
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", tmp_path / name)
        expect(page.locator("#loading")).to_be_hidden(timeout=LOAD_TIMEOUT_MS)
        told = error_of(page)
        assert "GGUF" in told or "empty" in told, name
    open_bundled(page)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/model.gguf", "%zz", "ftp://127.0.0.1/x"])
def test_addresses_that_lead_nowhere_are_told(
    profile: BrowserContext, url: str, address: str
) -> None:
    page = profile.new_page()
    page.goto(url)
    load_address(page, address)
    assert error_of(page)
    open_bundled(page)


@pytest.mark.parametrize("what", ["worker.js", "pyodide/*.wasm", "manifest.json", "kernels/*.wasm"])
def test_a_network_that_is_cut_while_the_page_starts_is_told(
    profile: BrowserContext, url: str, what: str
) -> None:
    def cut(route: Route) -> None:
        route.abort("connectionfailed")

    page = profile.new_page()
    profile.route(f"{url}{what}", cut)
    page.goto(url)
    page.locator("#bundled-models button", has_text=TINY.removesuffix(".gguf")).click()
    assert error_of(page)
    profile.unroute(f"{url}{what}", cut)
    open_bundled(page)
    ask(page, "abc")
    assert last_answer(page)


def test_a_network_that_is_cut_during_the_download_is_told_and_the_rest_comes_later(
    profile: BrowserContext, url: str, host: str
) -> None:
    page = profile.new_page()
    page.goto(url)
    Host.cut_after = 7_000_000
    load_address(page, f"{host}cut/{LARGER}")
    assert "404" in error_of(page)
    Host.cut_after = 1 << 30
    Host.asked.clear()
    page.reload()
    load_address(page, f"{host}cut/{LARGER}")
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    [asked] = Host.asked
    assert int(asked.split("bytes=")[1].rstrip("-")) >= 6 << 20


def test_a_tab_that_is_closed_in_mid_load_leaves_its_part_to_the_next(
    profile: BrowserContext, url: str, host: str
) -> None:
    page = profile.new_page()
    page.goto(url)
    load_address(page, f"{host}slow/{LARGER}")
    expect(page.locator("#loading-detail")).to_contain_text("Getting", timeout=LOAD_TIMEOUT_MS)
    for _ in range(200):
        if any(file["bytes"] for file in kept(page)):
            break
        page.wait_for_timeout(50)
    page.close()
    Host.asked.clear()
    second = profile.new_page()
    second.goto(url)
    [file] = kept(second)
    assert not file["complete"]
    load_address(second, f"{host}slow/{LARGER}")
    expect(second.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    first = Host.asked[0].split("bytes=")[1]
    assert int(first.rstrip("-")) >= 2 << 20
    ask(second, "abc")
    assert last_answer(second)


def test_a_full_storage_is_told_and_the_model_works(
    profile: BrowserContext, url: str, host: str
) -> None:
    page = profile.new_page()
    page.goto(url)
    quota = {"origin": url.rstrip("/"), "quotaSize": 8e6}
    profile.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
    load_address(page, f"{host}versioned/{LARGER}")
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    expect(page.locator("#model-note")).to_contain_text("no more storage")
    assert kept(page) == []
    ask(page, "abc")
    assert last_answer(page)


KILLABLE = """
    const Original = Worker;
    window.workers = [];
    window.Worker = class extends Original {
        constructor(...args) {
            super(...args);
            workers.push(this);
        }
    };
"""


@pytest.mark.parametrize("when", ["load", "answer", "idle"])
def test_a_killed_worker_is_told_and_another_one_goes_on(
    profile: BrowserContext, url: str, faults: str, when: str
) -> None:
    profile.add_init_script(KILLABLE)
    page = profile.new_page()
    page.goto(url)
    kill: Callable[[], None] = lambda: page.evaluate("workers.forEach((one) => one.terminate())")  # noqa: E731
    if when == "load":
        load_address(page, faults + "endless")
        expect(page.locator("#loading-detail")).to_contain_text("Getting", timeout=LOAD_TIMEOUT_MS)
        kill()
        assert "load the model again" in error_of(page)
    else:
        open_bundled(page, LARGER)
        if when == "answer":
            ask(page, "abc")
            expect(page.locator(".message.assistant .text")).not_to_be_empty(
                timeout=LOAD_TIMEOUT_MS
            )
            kill()
        else:
            kill()
            ask(page, "abc")
        alert = page.locator(".message.assistant .notice")
        expect(alert).to_contain_text("load the model again")
        expect(page.locator("#send")).to_be_visible()
        page.click("#change-model")
    open_bundled(page)
    ask(page, "abc")
    assert last_answer(page)
