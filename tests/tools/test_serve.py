"""tools/serve.py: what a browser needs of a static server."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser_helpers import serving
from serve import make_server

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "site" / "pyodide").mkdir(parents=True)
    (folder / "site" / "index.html").write_text("<!doctype html>")
    for name in ("a.js", "pyodide/a.mjs", "a.wasm", "a.whl", "manifest.json"):
        (folder / "site" / name).write_bytes(CONTENT)
    (folder / "models").mkdir()
    (folder / "models" / "m.gguf").write_bytes(CONTENT)
    (folder / "models" / "notes.txt").write_text("not a model")
    os.mkfifo(folder / "models" / "fifo.gguf")
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(make_server(folder / "site", folder / "models")) as address:
        yield address


def get(address: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=named)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/a.js", "text/javascript"),
        ("/pyodide/a.mjs", "text/javascript"),
        ("/a.wasm", "application/wasm"),
        ("/a.whl", "application/zip"),
        ("/manifest.json", "application/json"),
        ("/models/m.gguf", "application/octet-stream"),
    ],
)
def test_files_have_the_types_that_browsers_insist_on(address: str, path: str, kind: str) -> None:
    response, _ = get(address, path)
    assert response.status == 200
    assert response.headers.get_content_type() == kind
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=100-199", 100, 199), ("bytes=10000-", 10000, 10239),
     ("bytes=-40", 10200, 10239), ("bytes=5-999999", 5, 10239)],
)  # fmt: skip
def test_ranges(address: str, asked: str, first: int, last: int) -> None:
    response, body = get(address, "/models/m.gguf", Range=asked)
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert body == CONTENT[first : last + 1]


def test_a_range_behind_the_end_is_refused(address: str) -> None:
    response, body = get(address, "/models/m.gguf", Range="bytes=99999-")
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert body == b""


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-" + "9" * 5000, "bytes=-", "lines=1-2"])
def test_a_range_that_is_none_is_left_out(address: str, asked: str) -> None:
    response, body = get(address, "/models/m.gguf", Range=asked)
    assert (response.status, body) == (200, CONTENT)


def test_an_unchanged_file_is_not_sent_again(address: str) -> None:
    response, _ = get(address, "/a.wasm")
    again, body = get(address, "/a.wasm", If_Modified_Since=response.headers["Last-Modified"])
    assert again.status == 304
    assert body == b""


def test_the_model_list_names_models_only(address: str) -> None:
    _, body = get(address, "/models/models.json")
    assert json.loads(body) == [{"file": "m.gguf", "bytes": len(CONTENT)}]


@pytest.mark.parametrize(
    "path",
    ["/missing", "/pyodide", "/../secret.txt", "/models/../../secret.txt", "/%2e%2e/secret.txt",
     "/models/%2e%2e%2fsecret.txt", "/models/", "/models/fifo.gguf", "/a%00.js"],
)  # fmt: skip
def test_nothing_else_is_served(address: str, path: str) -> None:
    response, body = get(address, path)
    assert response.status == 404
    assert b"secret" not in body


def test_a_dropped_connection_is_no_news(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    host, port = urlsplit(address).netloc.split(":")
    for request in (b"GET", b"GET /models/m.gguf HTTP/1.1\r\nHost: x\r\n\r\n" * 100):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(request)
            # closing resets the connection, whatever was not read
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.5)
    assert get(address, "/")[0].status == 200
    assert capfd.readouterr().err == ""


def test_isolation_can_be_left_out(folder: Path) -> None:
    with serving(make_server(folder / "site", isolate=False)) as address:
        response, _ = get(address, "/")
        assert "Cross-Origin-Embedder-Policy" not in response.headers
        response, _ = get(address, "/models/models.json")
        assert response.status == 404
