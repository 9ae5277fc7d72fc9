"""Serves build/site, and the models of the cache at /models/, for trying things out.

python tools/serve.py --port 8000
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import re
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# they work without an installation
from oxillama_web.gguf.files import require_file  # noqa: E402
from oxillama_web.hub.models import cache_directory  # noqa: E402
from oxillama_web.terminal import run_command  # noqa: E402

SITE = ROOT / "build" / "site"
CHUNK = 1 << 20
MODELS = "/models/"
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Handler(SimpleHTTPRequestHandler):
    """Static files, with ranges, the MIME types that browsers insist on, and isolation headers."""

    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012 - the base class declares it so
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".whl": "application/zip",
        ".json": "application/json",
        ".gguf": "application/octet-stream",
    }

    def __init__(self, *args: object, models: Path | None, isolate: bool, **kwargs: object) -> None:
        self._models = models
        self._isolate = isolate
        self._range: tuple[int, int] | None = None
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        """The file behind a URL path; models lie elsewhere than the site."""
        name = unquote(urlsplit(path).path)
        if self._models is not None and name.startswith(MODELS):
            return str(self._models / Path(name).name)
        return super().translate_path(path)

    def send_head(self) -> BinaryIO | None:  # type: ignore[override]
        """Sends the headers; returns the open file, at the first byte to send."""
        self._range = None
        if urlsplit(self.path).path == f"{MODELS}models.json" and self._models is not None:
            return self._send_model_list()
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            if not urlsplit(self.path).path.endswith("/"):
                self.send_error(HTTPStatus.NOT_FOUND)
                return None
            path = path / "index.html"
        try:
            file = require_file(path).open("rb")
        except (OSError, ValueError):  # none, or a name that cannot be one
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        status = os.fstat(file.fileno())
        modified = self.date_time_string(int(status.st_mtime))
        if self.headers.get("If-Modified-Since") == modified and "Range" not in self.headers:
            file.close()
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.end_headers()
            return None
        size = status.st_size
        first, last = self._requested_range(size)
        if first >= size > 0:
            file.close()
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        partial = self._range is not None
        self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Type", self.guess_type(path.name))
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", modified)
        self.end_headers()
        file.seek(first)
        return file

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        """Sends the file, or the range that was asked for."""
        remaining = sys.maxsize if self._range is None else self._range[1] - self._range[0] + 1
        while remaining > 0 and (data := source.read(min(CHUNK, remaining))):
            outputfile.write(data)
            remaining -= len(data)

    def handle_one_request(self) -> None:
        """As usual; a browser that drops a connection is no news."""
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def end_headers(self) -> None:
        """Adds what every answer carries."""
        self.send_header("Cache-Control", "no-cache")
        if self._isolate:
            for name, value in ISOLATION.items():
                self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def _requested_range(self, size: int) -> tuple[int, int]:
        match = re.fullmatch(r"bytes=(\d{,18})-(\d{,18})", self.headers.get("Range", ""))
        if match is None or match.groups() == ("", ""):
            return 0, size - 1
        first, last = match.groups()
        if first == "":
            self._range = max(0, size - int(last)), size - 1
        elif last == "" or int(first) <= int(last):
            self._range = int(first), min(int(last or size - 1), size - 1)
        return self._range or (0, size - 1)

    def _send_model_list(self) -> BinaryIO:
        assert self._models is not None
        files = sorted(path for path in self._models.glob("*.gguf") if path.is_file())
        body = json.dumps([{"file": f.name, "bytes": f.stat().st_size} for f in files]).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)


def make_server(
    site: Path = SITE, models: Path | None = None, port: int = 0, isolate: bool = True
) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, not yet running; port 0 takes a free one."""
    handler = functools.partial(Handler, directory=str(site), models=models, isolate=isolate)
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--site", type=Path, default=SITE, help="folder to serve")
    parser.add_argument(
        "--models",
        type=Path,
        default=cache_directory(),
        help="folder of GGUF files to offer (default: the cache of oxillama-web's models)",
    )
    parser.add_argument(
        "--no-isolation", action="store_true", help="leave out the COOP and COEP headers"
    )
    arguments = parser.parse_args()
    if not (arguments.site / "index.html").is_file():
        raise SystemExit(f"{arguments.site} holds no page; run ./build_wasm.sh first")
    try:
        server = make_server(
            arguments.site, arguments.models, arguments.port, not arguments.no_isolation
        )
    except OSError as error:
        raise SystemExit(
            f"cannot serve on port {arguments.port}: {error.strerror}; choose another one "
            f"(make demo PORT=8001)"
        ) from error
    print(f"http://localhost:{server.server_port}", flush=True)
    print("Open this address in a browser. Ctrl-C stops the server.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(run_command("serve.py", main))
