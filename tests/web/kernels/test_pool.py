"""The kernels' own memory and threads in the page, in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import pytest
from browser_helpers import (
    LARGER,
    TINY,
    assert_workers_end,
    call,
    renderer_memory,
    serving,
    site_without_isolation,
)
from chromium import FLAGS, find_chromium
from playwright.sync_api import Browser, Page
from serve import Handler, make_server

from oxillama_web.backends.kernels.abi import ABI_VERSION

pytest_plugins = ["browser_fixtures"]

ANSWER = """
    const options = { temperature: 0, repetitionPenalty: 1, maxTokens: 24 };
    const answer = async (llm) => {
        const pieces = [];
        for await (const piece of llm.generate("abc ".repeat(50), options)) pieces.push(piece);
        return pieces.join("");
    };
"""
MANY_LOADS = f"""<!doctype html><script type="module">
const {{ OxiLlama }} = await import("./oxillama.js");
for (let i = 0; i < 30; i++) {{
    await OxiLlama.load({{ model: new Blob(["no model"]), threads: 2 }}).catch(() => {{}});
    await new Promise((resolve) => setTimeout(resolve, i));
}}
for (let i = 0; i < 6; i++) {{
    const llm = await OxiLlama.load({{ model: "models/{TINY}", threads: 2 }});
    llm.dispose();
}}
await fetch("finished", {{ method: "POST" }});
</script>"""
# what Python's own kernels answer, opened with ctypes in the same Pyodide
CTYPES = """async (file) => {
    const { loadPyodide } = await import("./pyodide/pyodide.mjs");
    const manifest = await (await fetch("manifest.json")).json();
    const pyodide = await loadPyodide({
        lockFileContents: JSON.stringify(manifest.lock),
        packageBaseUrl: new URL("wheels/", location.href).href,
    });
    await pyodide.loadPackage(new URL(manifest.wheels[0], location.href).href);
    const bytes = await (await fetch(`models/${file}`)).arrayBuffer();
    pyodide.FS.writeFile("/tmp/model.gguf", new Uint8Array(bytes));
    return pyodide.runPython(`
from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
engine = InferenceEngine(EngineConfig(executor="kernels", model_path="/tmp/model.gguf",
                                      prefill_chunk_size=32))
with open("/tmp/model.gguf", "rb") as file:
    engine.load_model_from_bytes(bytearray(file.read()), consume=True)
engine.generate("abc " * 50, 24, sampler=SamplerConfig.greedy())
`);
}"""


def worker_threads(session: int) -> int:
    """How many threads that run a worker the processes of a session have."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) != session:
                continue
            names = [path.read_text() for path in process.glob("task/*/comm")]
        except OSError:  # it ended
            continue
        count += sum(name.startswith("DedicatedWorker") for name in names)
    return count


def test_any_number_of_threads_gives_the_same_answer(page: Page) -> None:
    result = call(
        page,
        ANSWER
        + """
        const results = {};
        for (const threads of [1, 2, 3, undefined]) {
            const llm = await OxiLlama.load({ model: `models/${file}`, threads });
            results[`${threads}`] = { answer: await answer(llm), info: llm.info };
            llm.dispose();
        }
        return results;
        """,
        file=LARGER,
    )
    assert result.get("code") is None, result
    assert len({run["answer"] for run in result.values()}) == 1
    assert [result[n]["info"]["threads"] for n in "123"] == [1, 2, 3]
    processors = os.cpu_count() or 1
    assert 1 <= result["undefined"]["info"]["threads"] <= processors
    for run in result.values():
        assert run["info"]["executor"].startswith("pool-")
        assert run["info"]["isolated"] is True
        assert run["info"]["threadsNote"] == ""
    assert_workers_end(page)


@pytest.mark.slow
def test_no_worker_outlives_its_model(site: Path, tiny_models: Path, tmp_path: Path) -> None:
    """In a browser as people have it: a debugger changes when workers end."""
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (copy / "loads.html").write_text(MANY_LOADS)
    finished = threading.Event()

    class Listener(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the name that the base class calls
            finished.set()
            self.send_error(204)

    handler = partial(Listener, directory=str(copy), models=tiny_models, isolate=True)
    command = [find_chromium(), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        browser = subprocess.Popen([*command, f"{address}loads.html"], start_new_session=True)
        try:
            assert finished.wait(60)
            deadline = time.monotonic() + 15
            while worker_threads(browser.pid) > 0 and time.monotonic() < deadline:
                time.sleep(0.1)
            left = worker_threads(browser.pid)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
    assert left == 0


@pytest.mark.slow
def test_pythons_own_kernels_and_a_page_that_is_not_isolated_answer_the_same(
    browser: Browser, page: Page, site: Path, tiny_models: Path
) -> None:
    load_and_answer = (
        ANSWER
        + """
        const llm = await OxiLlama.load({ model: `models/${file}`, threads: 2 });
        const text = await answer(llm);
        llm.dispose();
        return { text, info: llm.info };
        """
    )
    isolated = call(page, load_and_answer, file=LARGER)
    # a page without the service worker, which would isolate it
    copy = site_without_isolation(site, tiny_models)
    with serving(make_server(copy, tiny_models, isolate=False)) as address:
        context = browser.new_context()
        plain_page = context.new_page()
        plain_page.goto(address)
        plain = call(plain_page, load_and_answer, file=LARGER)
        plain_page.goto(address + "manifest.json")
        in_python = plain_page.evaluate(CTYPES, LARGER)
        context.close()
    assert isolated["info"]["threads"] == 2
    assert plain["info"]["threads"] == 1
    assert plain["info"]["isolated"] is False
    assert "Cross-Origin-Opener-Policy" in plain["info"]["threadsNote"]
    assert isolated["text"] == plain["text"] == in_python


def site_of_modules(site: Path, folder: Path) -> Path:
    """A copy whose workers are not bundled, so that a test can change a module of theirs."""
    copy = folder / "site"
    shutil.copytree(site, copy)
    (copy / "worker.js").write_text('import "./worker/worker.js";')
    (copy / "kernel_thread.js").write_text('import "./kernels/thread.js";')
    return copy


@pytest.mark.parametrize("threads", [0, -1, 1.5, 100])
def test_an_impossible_number_of_threads_is_refused(page: Page, threads: float) -> None:
    result = call(page, "await OxiLlama.load({ model: tinyUrl, threads: n });", n=threads)
    assert result["code"] == "invalid_request"
    assert "threads" in result["message"]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (None, "kernel", "a thread could not be started"),
        (("post({ ready: true });", "throw new Error('no luck');"), "kernel", "no luck"),
        # a trap in the first forward pass
        (("kernels.ox_pool_work(pool, thread);", "kernels.ox_pool_work(1, thread);"),
         "worker_died", "has ended or hangs"),
        # a thread that is no more, without a word
        (("kernels.ox_pool_work(pool, thread);", "self.close();"),
         "worker_died", "has ended or hangs"),
    ],
    ids=["missing", "fails at its start", "traps", "vanishes"],
)  # fmt: skip
def test_a_thread_that_fails_ends_in_one_clear_error(
    browser: Browser,
    site: Path,
    tiny_models: Path,
    tmp_path: Path,
    change: tuple[str, str] | None,
    code: str,
    message: str,
) -> None:
    copy = site_of_modules(site, tmp_path)
    thread, pool = copy / "kernels" / "thread.js", copy / "kernels" / "pool.js"
    if change is None:
        (copy / "kernel_thread.js").unlink()
    else:
        assert change[0] in thread.read_text()
        thread.write_text(thread.read_text().replace(*change))
    assert "THREAD_TIMEOUT_MS = 30_000" in pool.read_text()
    pool.write_text(pool.read_text().replace("_TIMEOUT_MS = 30_000", "_TIMEOUT_MS = 1_000"))
    started = time.monotonic()
    with serving(make_server(copy, tiny_models)) as address:
        page = browser.new_page()
        page.goto(address)
        result = call(
            page,
            ANSWER
            + """
            const llm = await OxiLlama.load({ model: tinyUrl, threads: 2 });
            return await answer(llm);
            """,
        )
        again = call(
            page,
            ANSWER
            + """
            const llm = await OxiLlama.load({ model: tinyUrl, threads: 1 });
            const text = await answer(llm);
            llm.dispose();
            return { text };
            """,
        )
        page.close()
    assert result["code"] == code, result
    assert message in result["message"]
    assert again["text"]
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("side", ["page", "package"])
def test_kernels_of_another_version_end_in_one_clear_error(
    browser: Browser, site: Path, tiny_models: Path, tmp_path: Path, side: str
) -> None:
    copy = site_of_modules(site, tmp_path)
    # ox_abi_version is a function without locals: i32.const, end; another may return the same
    body = b"\x04\0\x41%c\x0b"
    for path in (copy / "kernels").glob("ox-s*.wasm"):
        kernels = path.read_bytes()
        assert body % ABI_VERSION in kernels
        path.write_bytes(kernels.replace(body % ABI_VERSION, body % 1))
    if side == "package":
        # as if files and kernels were new ones, and the wheel an older one
        module = copy / "kernels" / "module.js"
        module.write_text(
            module.read_text().replace(f"ABI_VERSION = {ABI_VERSION};", "ABI_VERSION = 1;")
        )
    with serving(make_server(copy, tiny_models)) as address:
        page = browser.new_page()
        page.goto(address)
        result = call(page, "await OxiLlama.load({ model: tinyUrl });")
        page.close()
    assert result["code"] == "kernel", result
    assert f"interface version 1, and this {side} needs {ABI_VERSION}" in result["message"]
    assert "build_wasm.sh" in result["message"]


@pytest.mark.slow
@pytest.mark.alone
def test_loading_takes_little_more_memory_than_the_file(
    browser: Browser, site: Path, smollm2_path: Path, tmp_path: Path
) -> None:
    """Loads differ by up to 30 MB of what was read and is not used any more, which Chromium gives
    back when it likes."""
    most = 1.15 * smollm2_path.stat().st_size + 60e6
    with serving(make_server(site, smollm2_path.parent)) as address:
        taken = [
            memory_of_a_load(browser, address, smollm2_path.name, tmp_path / f"{load}")
            for load in range(3)
        ]
    assert median(taken) <= most, taken


def memory_of_a_load(browser: Browser, address: str, file: str, profile: Path) -> float:
    """Bytes at the peak, Python's own not counted, of a visitor who comes for the first time.

    A private window, which is what new_page() gives, would keep what it stores in memory.
    """
    with browser.browser_type.launch_persistent_context(
        profile, executable_path=find_chromium(), args=list(FLAGS)
    ) as context:
        visitor = context.browser
        assert visitor is not None
        page = context.new_page()
        page.goto(address)
        call(page, "OxiLlama.prepare(); await new Promise((done) => setTimeout(done, 4000));")
        before = renderer_memory(visitor)
        result = call(
            page,
            """
            const llm = await OxiLlama.load({ model: `models/${file}`, contextSize: 512 });
            llm.dispose();
            return llm.info;
            """,
            file=file,
        )
        assert result.get("code") is None, result
        peak = renderer_memory(visitor, "VmHWM")
    return peak - before


@pytest.mark.slow
@pytest.mark.alone
def test_dispose_gives_the_memory_back(browser: Browser, site: Path, gemma3_path: Path) -> None:
    size = gemma3_path.stat().st_size
    with serving(make_server(site, gemma3_path.parent)) as address:
        page = browser.new_page()
        page.goto(address)
        result = call(
            page,
            """
            window.llm = await OxiLlama.load({ model: `models/${file}`, contextSize: 512 });
            return window.llm.info;
            """,
            file=gemma3_path.name,
        )
        assert result.get("code") is None, result
        loaded = renderer_memory(browser)
        page.evaluate("window.llm.dispose()")
        for _ in range(100):
            page.wait_for_timeout(150)
            after = renderer_memory(browser)
            if after < loaded - size:
                break
        page.close()
    assert after < loaded - size


class SparseModel(BaseHTTPRequestHandler):
    """A model of any size that is made as it is sent."""

    header: ClassVar[bytes] = b""
    size: ClassVar[int] = 0

    def do_GET(self) -> None:
        """Sends the header, and then the same bytes again and again."""
        self.send_response(200)
        self.send_header("Content-Length", str(self.size))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        filler = bytes(1 << 22)
        self.wfile.write(self.header)
        remaining = self.size - len(self.header)
        try:
            while remaining:
                sent = min(remaining, len(filler))
                self.wfile.write(filler[:sent])
                remaining -= sent
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


@pytest.fixture
def sparse() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), SparseModel)) as address:
        yield address


@pytest.fixture
def plain_page(browser: Browser, url: str) -> Iterator[Page]:
    """The page, which may talk to other servers."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def load_sparse(page: Page, address: str, size: int, header: bytes) -> dict[str, Any]:
    SparseModel.header, SparseModel.size = header, size
    body = """
        const llm = await OxiLlama.load({ model: address, threads: 1 });
        let text = "";
        for await (const piece of llm.generate("abc", { temperature: 0, maxTokens: 3 })) {
            text += piece;
        }
        llm.dispose();
        return { info: llm.info, text };
    """
    result: dict[str, Any] = call(page, body, address=address)
    return result


@pytest.mark.slow
def test_a_model_of_more_than_two_gigabytes_fits(
    plain_page: Page, sparse: str, tiny_models: Path
) -> None:
    """A small model, and behind it 2.3 GB that no tensor owns."""
    model = (tiny_models / LARGER).read_bytes()
    result = load_sparse(plain_page, sparse, 2_300_000_000, model)
    assert result.get("code") is None, result
    assert result["info"]["threads"] == 1


def test_a_model_above_four_gigabytes_is_refused_at_once(plain_page: Page, sparse: str) -> None:
    result = load_sparse(plain_page, sparse, 5_000_000_000, b"GGUF")
    assert result["code"] == "out_of_memory"
    assert "5000 MB" in result["message"]
    assert "choose a smaller model" in result["message"]


HEAP = """async ({ seed, steps }) => {
    const { KernelHeap } = await import("./kernels/heap.js");
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 64 });
    const heap = new KernelHeap(memory, 1000);
    let state = seed;
    const random = (n) => (state = (state * 48271) % 2147483647) % n;
    const blocks = [];
    let failures = 0;
    for (let i = 0; i < steps; i++) {
        if (blocks.length > 0 && random(5) < 2) {
            heap.free(blocks.splice(random(blocks.length), 1)[0].start);
            continue;
        }
        const bytes = random(200000);
        const start = heap.allocate(bytes);
        if (start === 0) { failures += 1; continue; }
        if (start % 64 || start < 1000) return "a bad address";
        const view = new Uint8Array(memory.buffer, start, bytes);
        if (view.some((x) => x !== 0)) return "not zeroed";
        if (blocks.some((b) => start < b.start + b.bytes && b.start < start + bytes)) {
            return "overlap";
        }
        view.fill(1 + random(255));
        blocks.push({ start, bytes });
    }
    for (const { start } of blocks) heap.free(start);
    const whole = heap.allocate(64 * 65536 - 2048);
    return { failures, whole };
}"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_heap_hands_out_zeroed_blocks_that_never_overlap(page: Page, seed: int) -> None:
    result = page.evaluate(HEAP, {"seed": seed, "steps": 600})
    assert isinstance(result, dict), result
    assert result["failures"] > 0  # it was full at times
    assert result["whole"] == 1024  # and all came back as one hole


def test_the_manifest_names_the_kernels(site: Path) -> None:
    manifest = json.loads((site / "manifest.json").read_text())
    assert len(manifest["kernels"]) == 7
    for name in manifest["kernels"]:
        assert (site / name).read_bytes()[:4] == b"\0asm"
