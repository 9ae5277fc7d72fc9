"""Servers for tests in Chromium, and a way to run JavaScript in a page."""

from __future__ import annotations

import functools
import shutil
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig

TINY = "tiny-llama.gguf"
TINY_BASE = "tiny-base.gguf"
LARGER = "larger-llama.gguf"
LOAD_TIMEOUT_MS = 60_000
# SmolLM2's most probable tokens are so by far here, whatever kernels compute them
SURE_PROMPT = "1, 2, 3, 4, 5,"
SURE_TOKENS = 32
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)

# what scripts for `call` begin with, and options of their answers
GREEDY = "{ temperature: 0, repetitionPenalty: 1, maxTokens: 12 }"
# an answer that lasts: the tiny models' end of text, token 2, never comes
LONG = "temperature: 1, bannedTokens: [2], maxTokens: 2000"
COLLECT = """
    const collect = async (stream) => {
        let text = "";
        for await (const piece of stream) text += piece;
        return text;
    };
"""


class serving:  # noqa: N801 - reads as a statement
    """Runs a server in a thread while the block lasts; the value is its address."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def take_gz_for_an_encoding(server: ThreadingHTTPServer) -> None:
    """Has a server of tools/serve.py tell of file.gz that it is file, compressed for the way."""
    handler: Any = server.RequestHandlerClass

    class Encoding(handler.func):  # type: ignore[misc]
        def end_headers(self) -> None:
            if self.path.endswith(".gz"):
                self.send_header("Content-Encoding", "gzip")
            super().end_headers()

    server.RequestHandlerClass = functools.partial(Encoding, **handler.keywords)  # type: ignore[assignment]


class FaultyHandler(BaseHTTPRequestHandler):
    """Serves one model in many wrong ways; the path says which."""

    model = b""

    def do_GET(self) -> None:
        """Answers by path."""
        action = urlsplit(self.path).path.strip("/")
        try:
            getattr(self, f"_{action.replace('-', '_')}", self._missing)()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def _missing(self) -> None:
        self._begin(404, 0)

    def _broken_server(self) -> None:
        self._begin(503, 0)

    def _whole(self) -> None:
        self._begin(200, len(self.model))
        self.wfile.write(self.model)

    def _without_length(self) -> None:
        self._begin(200, None)
        self.wfile.write(self.model)

    def _forbidden(self) -> None:
        self._begin(200, len(self.model), allow=False)
        self.wfile.write(self.model)

    def _truncated(self) -> None:
        self._begin(200, len(self.model))
        self.wfile.write(self.model[: len(self.model) // 2])

    def _flaky(self) -> None:
        """Gives a quarter of what is asked for, and then hangs up."""
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        rest = self.model[start:]
        self._begin(206 if start else 200, len(rest))
        self.wfile.write(rest[: len(self.model) // 4 + 1])
        self._let_it_arrive()

    def _changed(self) -> None:
        """As flaky, but the file is another one the second time."""
        if self.headers.get("Range", "bytes=0-") != "bytes=0-":
            self._begin(206, 10)
            self.wfile.write(bytes(10))
        else:
            self._truncated()
            self._let_it_arrive()

    def _web_page(self) -> None:
        body = b"<!doctype html><title>Please log in</title>"
        self._begin(200, len(body))
        self.wfile.write(body)

    def _endless(self) -> None:
        self._begin(200, 1 << 30)
        self.wfile.write(b"GGUF")
        while True:
            self.wfile.write(bytes(1000))
            time.sleep(0.02)

    def _let_it_arrive(self) -> None:
        """A browser drops what it has not handed on when the connection breaks."""
        self.wfile.flush()
        time.sleep(0.3)

    def _begin(self, status: int, length: int | None, *, allow: bool = True) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if allow:
            self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()


def call(page: Page, body: str, **arguments: Any) -> Any:
    """Runs JavaScript in the page with OxiLlama, tinyUrl and `arguments` in scope.

    What it returns comes back; an error it throws comes back as {"code", "message", ...}.
    """
    names = ", ".join(["OxiLlama", "OxiLlamaError", "tinyUrl", *arguments])
    script = f"""async (values) => {{
        const {{ OxiLlama, OxiLlamaError }} = await import("./oxillama.js");
        const run = async ({{ {names} }}) => {{ {body} }};
        try {{
            return await run({{ OxiLlama, OxiLlamaError, tinyUrl: "models/{TINY}", ...values }});
        }} catch (error) {{
            const {{ name, code, message, status, detail }} = error;
            return {{ name, code, message, status, detail }};
        }}
    }}"""
    return page.evaluate(script, arguments)


def succeed(page: Page, body: str, **arguments: Any) -> Any:
    """As `call`, where an error fails the test."""
    result = call(page, body, **arguments)
    assert not isinstance(result, dict) or result.get("code") is None, result
    return result


def native_answer(model: Path) -> str:
    """SURE_TOKENS after SURE_PROMPT, chosen greedily on CPython."""
    engine = InferenceEngine(EngineConfig(model_path=str(model)))
    engine.load_model()
    return engine.generate(SURE_PROMPT, SURE_TOKENS, sampler=SamplerConfig.greedy())


def assert_workers_end(page: Page) -> None:
    """A worker may end by itself; a moment later it is ended. A busy browser takes its time."""
    wait_until(page, lambda: not page.workers, 60)
    assert page.workers == []


def wait_until(page: Page, condition: Callable[[], bool], seconds: float) -> None:
    """Until `condition` is true, or so long: what it should be, the caller asserts."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        page.wait_for_timeout(50)


def renderer_memory(browser: Browser, field: str = "VmRSS") -> int:
    """Bytes that the largest renderer holds (VmRSS), or the most it ever held (VmHWM)."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    sizes = []
    for process in processes:
        if process["type"] != "renderer":
            continue
        for line in Path(f"/proc/{process['id']}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                sizes.append(int(line.split()[1]) * 1024)
    return max(sizes)


def site_without_isolation(site: Path, folder: Path) -> Path:
    copy = folder / "site-without-isolation"
    if not copy.exists():
        shutil.copytree(site, copy)
        page = (copy / "index.html").read_text()
        switch = '<meta name="oxillama-isolation" content="off">'
        (copy / "index.html").write_text(page.replace("<title>", switch + "<title>"))
    return copy
