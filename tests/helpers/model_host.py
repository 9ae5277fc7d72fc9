"""A server that gives model files in the ways of different hosts."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

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
    # of "cut": how many bytes it gives in all before it is gone for good
    cut_after = 0
    etag = '"one"'

    def do_HEAD(self) -> None:
        """Tells what a file is."""
        _, kind, name = self.path.split("/", 2)
        Host.asked.append(f"HEAD {kind}/{name}")
        self.send_response(200)
        self._headers(len(Host.files[name]), self._version())

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

    def _versioned(self, data: bytes) -> None:
        """Ranges, and an ETag that others may see."""
        self._send_range(data, len(data), 0.0, headers=self._version())

    def _cut(self, data: bytes) -> None:
        """Breaks off, and has nothing from then on."""
        left = Host.cut_after
        if left == 0:
            self._send(404, b"")
            return
        if left < len(data):
            Host.cut_after = 0
        self.send_response(206)
        first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self._headers(len(data) - first, self._version())
        self.wfile.write(data[first : first + left])
        self.wfile.flush()
        if left < len(data):
            # what a page has not read when its connection breaks, the browser throws away
            time.sleep(2)
            self.close_connection = True

    def _slow(self, data: bytes) -> None:
        """Each connection gives 4 MB a second."""
        self._send_range(data, 200_000, 0.05)

    def _crawling(self, data: bytes) -> None:
        """Each connection gives 1 MB a second."""
        self._send_range(data, 50_000, 0.05)

    def _shared(self, data: bytes) -> None:
        """All connections together give 6 MB a second."""
        self._send_range(data, 300_000, 0.05, Host.lock)

    def _send_range(
        self,
        data: bytes,
        step: int,
        seconds: float,
        lock: threading.Lock | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self._headers(len(part), headers)
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

    def _version(self) -> dict[str, str]:
        return {"ETag": Host.etag, "Access-Control-Expose-Headers": "ETag"}

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
