"""Fetching over HTTP, from a server that misbehaves."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.server
import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from oxillama_web.errors import DownloadError
from oxillama_web.hub import download
from oxillama_web.hub.download import fetch_url

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """What the server does, request by request; the last behaviour stays."""

    url: str = ""
    body: bytes = BODY
    etag: str | None = '"one"'
    behaviours: list[str] = field(default_factory=lambda: ["ok"])
    ranges: list[str | None] = field(default_factory=list)

    def next_behaviour(self) -> str:
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


@pytest.fixture
def server() -> Iterator[Server]:
    script = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.ranges.append(self.headers["Range"])
            answer(self, script)

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    script.url = f"http://127.0.0.1:{httpd.server_port}/model.gguf"
    yield script
    httpd.shutdown()
    httpd.server_close()


def answer(handler: http.server.BaseHTTPRequestHandler, script: Server) -> None:
    """One response: "ok", "cut", "stall", "no ranges", "wrong range", "no length", or a status."""
    behaviour = script.next_behaviour()
    if behaviour.isdigit():
        handler.send_error(int(behaviour))
        return
    body = script.body
    start = 0
    asked = handler.headers["Range"]
    same = handler.headers["If-Range"] in (None, script.etag)
    if asked and same and behaviour != "no ranges":
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            handler.end_headers()
            return
        handler.send_response(206)
        told = 0 if behaviour == "wrong range" else start
        handler.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
    else:
        handler.send_response(200)
    if script.etag:
        handler.send_header("ETag", script.etag)
    if behaviour == "compressed":
        handler.send_header("Content-Encoding", "gzip")
    if behaviour != "no length":
        handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    part = body[start:]
    with contextlib.suppress(OSError):
        if behaviour == "cut":
            handler.wfile.write(part[: max(len(part) // 2, 1)])
        elif behaviour == "stall":
            handler.wfile.write(part[: len(part) // 2])
            handler.wfile.flush()
            time.sleep(20)
        elif behaviour != "nothing":
            handler.wfile.write(part)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_RETRY_SECONDS", (0.0, 0.0, 0.0))


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


# --- over HTTP ---


def test_a_file_comes_whole_and_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.gguf"
    calls: list[tuple[str, int, int | None]] = []
    for _ in range(2):
        assert fetch_url(server.url, path, SHA256, len(BODY), lambda *c: calls.append(c)) == path
    assert path.read_bytes() == BODY
    assert server.ranges == [None]
    assert leftovers(path.parent) == ["model.gguf"]
    assert calls[-1] == ("model.gguf", len(BODY), len(BODY))
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)


def test_without_sum_and_size_it_is_taken_as_it_comes(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["no length"]
    assert fetch_url(server.url, str(tmp_path / "f")).read_bytes() == BODY
    assert fetch_url(server.url, tmp_path / "f").read_bytes() == BODY
    assert len(server.ranges) == 1


def test_broken_connections_are_taken_up_where_they_ended(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["cut"] * 6 + ["ok"]
    path = fetch_url(server.url, tmp_path / "f", SHA256)
    assert path.read_bytes() == BODY
    starts = [int(asked.removeprefix("bytes=")[:-1]) for asked in server.ranges if asked]
    assert len(starts) == 6
    assert starts == sorted(set(starts))
    assert starts[0] == len(BODY) // 2
    assert leftovers(tmp_path) == ["f"]


def test_a_connection_that_never_brings_a_byte_is_given_up(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["nothing"]
    with pytest.raises(DownloadError, match=r"cannot download.*0 of 1048576.*another try"):
        fetch_url(server.url, tmp_path / "f", SHA256)
    assert len(server.ranges) == 4
    assert not (tmp_path / "f").exists()


def test_a_later_call_resumes(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["cut", "404"]
    with pytest.raises(DownloadError, match="404"):
        fetch_url(server.url, tmp_path / "f", SHA256, len(BODY))
    assert leftovers(tmp_path) == ["f.part", "f.part.tag"]
    server.behaviours = ["ok"]
    fetch_url(server.url, tmp_path / "f", SHA256, len(BODY))
    assert server.ranges[-1] == f"bytes={len(BODY) // 2}-"
    assert (tmp_path / "f").read_bytes() == BODY
    assert leftovers(tmp_path) == ["f"]


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["cut", "no ranges"]
    assert fetch_url(server.url, tmp_path / "f", SHA256).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={len(BODY) // 2}-"]


def test_a_file_that_changed_meanwhile_is_not_mixed(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["cut", "404"]
    with pytest.raises(DownloadError):
        fetch_url(server.url, tmp_path / "f")
    server.behaviours, server.body, server.etag = ["ok"], BODY[::-1], '"two"'
    assert fetch_url(server.url, tmp_path / "f").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_version_or_a_sum_nothing_is_resumed(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    server.behaviours, server.etag = ["cut", "ok"], etag
    assert fetch_url(server.url, tmp_path / "f").read_bytes() == BODY
    assert server.ranges == [None, None]
    server.behaviours = ["cut", "ok"]
    assert fetch_url(server.url, tmp_path / "g", SHA256).read_bytes() == BODY
    assert server.ranges[-1] is not None


def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    """No ETag, so only the sum tells that the beginning is wrong."""
    server.etag = None
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    assert fetch_url(server.url, tmp_path / "f", SHA256, len(BODY)).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_part_that_is_whole_or_too_long(
    server: Server, tmp_path: Path, extra: int, size: int | None
) -> None:
    (tmp_path / "f.part").write_bytes(BODY + b"x" * extra)
    assert fetch_url(server.url, tmp_path / "f", SHA256, size).read_bytes() == BODY


def test_a_wrong_range_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["cut", "wrong range", "ok"]
    assert fetch_url(server.url, tmp_path / "f", SHA256).read_bytes() == BODY


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_another_file_is_refused_and_not_kept(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    server.body = BODY[::-1]
    with pytest.raises(DownloadError, match=f"another file than promised.*{SHA256}"):
        fetch_url(server.url, tmp_path / "f", SHA256, size)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("behaviour", ["ok", "no length"])
@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"x"])
def test_another_size_is_refused(
    server: Server, tmp_path: Path, behaviour: str, body: bytes
) -> None:
    server.behaviours, server.body = [behaviour], body
    with pytest.raises(DownloadError, match=r"1048576|1048575"):
        fetch_url(server.url, tmp_path / "f", SHA256, len(BODY))
    assert not (tmp_path / "f").exists()


def test_a_status_that_may_pass_is_tried_again_and_others_are_not(
    server: Server, tmp_path: Path
) -> None:
    server.behaviours = ["503", "429", "500", "ok"]
    assert fetch_url(server.url, tmp_path / "f", SHA256).read_bytes() == BODY
    server.behaviours = ["403"]
    with pytest.raises(DownloadError, match="answers 403"):
        fetch_url(server.url, tmp_path / "g", SHA256)
    assert len(server.ranges) == 5


def test_a_compressed_answer_is_refused(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["compressed"]
    with pytest.raises(DownloadError, match="compressed"):
        fetch_url(server.url, tmp_path / "f", SHA256)


def test_no_server_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"cannot download http://127\.0\.0\.1:9/f"):
        fetch_url("http://127.0.0.1:9/f", tmp_path / "f")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/f", "/a/path", ""])
def test_only_http_is_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no http"):
        fetch_url(url, tmp_path / "f")


def test_too_little_room_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})()
    )
    with pytest.raises(DownloadError, match=r"1 MB are needed.*OXILLAMA_CACHE"):
        fetch_url(server.url, tmp_path / "f", SHA256)


def test_a_disk_that_fills_up_keeps_what_has_come(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() > 400_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    real_open = Path.open

    def full_open(path: Path, mode: str = "r", **options: Any) -> Any:
        if path.suffix != ".part":
            return real_open(path, mode, **options)
        return FullDisk(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full_open)
        with pytest.raises(DownloadError, match=r"disk of .* is full"):
            fetch_url(server.url, tmp_path / "f", SHA256)
    kept = (tmp_path / "f.part").stat().st_size
    assert 400_000 < kept < len(BODY)
    assert fetch_url(server.url, tmp_path / "f", SHA256).read_bytes() == BODY
    assert server.ranges[-1] == f"bytes={kept}-"


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DownloadError, match=r"cannot write .*OXILLAMA_CACHE"):
        fetch_url(server.url, tmp_path / "file" / "f")


FETCH = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from oxillama_web.hub.download import fetch_url
fetch_url({url!r}, Path({path!r}), {sha256!r})
"""


def start_fetch(server: Server, path: Path) -> subprocess.Popen[bytes]:
    code = FETCH.format(root=str(ROOT), url=server.url, path=str(path), sha256=SHA256)
    return subprocess.Popen([sys.executable, "-c", code])


def test_processes_that_fetch_at_once_download_once(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["cut", "ok"]
    processes = [start_fetch(server, tmp_path / "f") for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "f").read_bytes() == BODY
    assert len(server.ranges) == 2


def test_a_killed_process_leaves_what_the_next_one_resumes(server: Server, tmp_path: Path) -> None:
    server.behaviours = ["stall", "ok"]
    with start_fetch(server, tmp_path / "f") as process:
        part = tmp_path / "f.part"
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= 400_000):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert not (tmp_path / "f").exists()
    assert fetch_url(server.url, tmp_path / "f", SHA256).read_bytes() == BODY
    assert server.ranges[-1] is not None
