"""Serves the benchmark's pages, engines and models to a cross-origin-isolated page."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".gguf": "application/octet-stream",
}


@contextmanager
def serve(routes: Mapping[str, Path]) -> Iterator[str]:
    """Serve each route's directory (or single file) on a free local port; yield the address."""
    handler = type("Handler", (_Handler,), {"routes": dict(routes)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(SimpleHTTPRequestHandler):
    routes: dict[str, Path]

    def translate_path(self, path: str) -> str:
        route, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        base = self.routes.get(route)
        if base is None or ".." in Path(rest).parts:
            return "/nonexistent"
        return str(base / rest if rest else base)

    def guess_type(self, path: Any) -> str:
        """Name the types that a browser insists on, whatever the system's table says."""
        return _TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        """Add what a page needs to share memory between workers, and keep files fresh.

        Without an explicit age a browser guesses one from the file's date: it would ask again for
        what was built a minute ago, and throw its compiled code away, but not for what npm dated
        years back.
        """
        self.send_header("Cache-Control", "max-age=3600")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Stay silent."""
