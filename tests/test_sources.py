"""Where a model's bytes come from, in Chromium: hosts of all kinds, files in parts, connections."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from browser_helpers import TINY, call, serving
from gguf_files import split_model
from playwright.sync_api import Browser, Page

pytest_plugins = ["browser_fixtures"]

ANSWER = """
    const answer = async (model) => {
        const llm = await OxiLlama.load({ model });
        let text = "";
        const options = { temperature: 0, repetitionPenalty: 1, maxTokens: 12 };
        for await (const piece of llm.generate("abc", options)) text += piece;
        llm.dispose();
        return text;
    };
"""

DOWNLOAD = """
    const { Download } = await import("./download.js");
    const started = performance.now();
    const opened = await Download.open(address, new AbortController().signal);
    const bytes = new Uint8Array(24 << 20);
    let written = 0;
    const end = await opened.read((chunk, offset) => {
        bytes.set(chunk, offset);
        written += chunk.length;
    });
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    const hex = Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0"));
    const seconds = (performance.now() - started) / 1000;
    return { end, written, seconds, hex: hex.join("") };
"""

# bytes that a download's parts must be put together to
LARGE = b"".join(hashlib.sha256(bytes([i & 255, i >> 8])).digest() * 1024 for i in range(768))


class Host(BaseHTTPRequestHandler):
    """Serves files in the ways of different hosts; the path's first part says which."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    open_now = 0
    most_open = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        """Answers by path."""
        _, kind, name = self.path.split("/", 2)
        Host.asked.append(f"{kind}/{name} {self.headers.get('Range', '')}")
        try:
            getattr(self, f"_{kind}")(Host.files[name])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_OPTIONS(self) -> None:
        """No preflight is answered."""
        self.send_response(405)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def _plain(self, data: bytes) -> None:
        """No ranges."""
        self._send(200, data)

    def _zipped(self, data: bytes) -> None:
        """Compresses whatever the browser says; another site cannot see that it does."""
        self._send(200, gzip.compress(data), {"Content-Encoding": "gzip"})

    def _chunked(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(data), 10000):
            piece = data[at : at + 10000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _breaking(self, data: bytes) -> None:
        """No ranges, and the first two connections break; an ETag tells that it is one file."""
        count = sum(line.startswith("breaking/") for line in Host.asked)
        self.send_response(200)
        self._headers(len(data), {"ETag": '"one"', "Access-Control-Expose-Headers": "ETag"})
        self.wfile.write(data[: len(data) * count // 3])
        self.wfile.flush()
        if count < 3:
            time.sleep(0.3)
            self.close_connection = True

    def _ranged(self, data: bytes) -> None:
        self._send_range(data, len(data), 0.0)

    def _slow(self, data: bytes) -> None:
        """Each connection gives 4 MB a second."""
        self._send_range(data, 200_000, 0.05)

    def _shared(self, data: bytes) -> None:
        """All connections together give 6 MB a second."""
        self._send_range(data, 300_000, 0.05, Host.lock)

    def _send_range(
        self, data: bytes, step: int, seconds: float, lock: threading.Lock | None = None
    ) -> None:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self._headers(len(part))
        Host.open_now += 1
        Host.most_open = max(Host.most_open, Host.open_now)
        try:
            for at in range(0, len(part), step):
                if lock is None:
                    time.sleep(seconds)
                else:
                    with lock:
                        time.sleep(seconds)
                self.wfile.write(part[at : at + step])
        finally:
            Host.open_now -= 1

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self._headers(len(data), headers)
        self.wfile.write(data)

    def _headers(self, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture(scope="session")
def parts(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return split_model(tiny_models / TINY, tmp_path_factory.mktemp("parts"), 3)


@pytest.fixture(scope="session")
def host(tiny_models: Path, parts: list[Path]) -> Iterator[str]:
    Host.files = {path.name: path.read_bytes() for path in [tiny_models / TINY, *parts]}
    Host.files["large"] = LARGE
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Host)) as address:
        yield address


@pytest.fixture
def host_page(browser: Browser, url: str) -> Iterator[Page]:
    """The page without its policy, which lets only its workers talk to other hosts."""
    Host.asked.clear()
    Host.most_open = 0
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


@pytest.mark.parametrize("kind", ["plain", "zipped", "chunked", "breaking", "ranged"])
def test_hosts_of_all_kinds_give_the_same_answer(host_page: Page, host: str, kind: str) -> None:
    result = call(
        host_page,
        ANSWER + "return { here: await answer(tinyUrl), there: await answer(address) };",
        address=f"{host}{kind}/{TINY}",
    )
    assert result.get("code") is None, result
    assert result["here"] == result["there"] != ""


def test_a_model_in_parts_from_the_first_ones_address(
    host_page: Page, host: str, parts: list[Path]
) -> None:
    result = call(
        host_page,
        ANSWER
        + """
        const bytes = await Promise.all(
            names.map(async (name) => (await fetch(address + "plain/" + name)).arrayBuffer()));
        const files = bytes.map((buffer, index) => new File([buffer], names[index]));
        return [
            await answer(tinyUrl),
            await answer(address + "ranged/" + names[0]),
            await answer(address + "chunked/" + names[0]),
            await answer(names.map((name) => address + "plain/" + name)),
            await answer([files[2], files[0], files[1]]),
            await answer([...bytes.map((buffer) => new Blob([buffer]))]),
            await answer([bytes[0], files[1], new Blob([bytes[2]]).stream()]),
        ];
        """,
        address=host,
        names=[path.name for path in parts],
    )
    assert isinstance(result, list), result
    assert len(set(result)) == 1


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("address + names[1]", "invalid_request", "is part 2 of a model; give the first one"),
        ("[address + names[0]]", None, ""),
        ("[new Blob([bytes])]", "bad_model", "in 3 files, and 1 of them came"),
        ("[new Blob([bytes]), new Blob([bytes])]", "bad_model", "in 3 files, and 2 of them came"),
        ("[]", "invalid_request", "empty list"),
        ("lockedStream", "invalid_request", "read by someone else"),
        ("new Blob(['text']).stream().pipeThrough(new TextDecoderStream())", "network",
         "Uint8Array"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_told_in_words(
    host_page: Page, host: str, parts: list[Path], model: str, code: str | None, words: str
) -> None:
    result = call(
        host_page,
        ANSWER
        + f"""
        const bytes = await (await fetch(address + names[0])).arrayBuffer();
        const lockedStream = new Blob([bytes]).stream();
        lockedStream.getReader();
        return {{ text: await answer({model}) }};
        """,
        address=f"{host}ranged/",
        names=[path.name for path in parts],
    )
    assert result.get("code") == code, result
    assert words in result.get("message", "")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fewest", "most"), [("slow", 3, 4), ("shared", 1, 3)])
def test_more_connections_where_that_is_faster(
    host_page: Page, host: str, kind: str, fewest: int, most: int
) -> None:
    result = call(host_page, DOWNLOAD, address=f"{host}{kind}/large")
    assert result.get("code") is None, result
    assert result["end"] == result["written"] == len(LARGE)
    assert "hex" in result, result
    assert result["hex"] == hashlib.sha256(LARGE).hexdigest()
    assert fewest <= Host.most_open <= most
    # one connection alone takes 6.3 and 4.2 seconds
    assert result["seconds"] < (4.5 if kind == "slow" else 6)


def test_a_fast_host_is_asked_once(host_page: Page, host: str) -> None:
    result = call(host_page, DOWNLOAD, address=f"{host}ranged/large")
    assert "hex" in result, result
    assert result["hex"] == hashlib.sha256(LARGE).hexdigest()
    assert Host.asked == ["ranged/large bytes=0-"]
