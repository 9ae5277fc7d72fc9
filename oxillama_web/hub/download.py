"""Downloads that survive a broken connection, and never leave a broken file in its final place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ..errors import DownloadError

# Called with the file's name, the bytes that have come, and the total if it is known.
Progress = Callable[[str, int, int | None], None]

_CHUNK = 1 << 16
_TIMEOUT_SECONDS = 60
# Waits before each retry. A try that brought some bytes starts the list again.
_RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0)
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class ProgressBar:
    """Draws a bar on stderr if that is a terminal; otherwise writes a line when a file is done."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._painted = 0.0
        self._finished = ""

    def __call__(self, name: str, done: int, total: int | None) -> None:
        finished = done == total
        if finished and self._finished == name:
            return
        self._finished = name if finished else ""
        terminal = self._stream.isatty()
        now = time.monotonic()
        if not finished and (not terminal or now - self._painted < 0.1):
            return
        self._painted = now
        of = f" of {total / 1e6:.1f}" if total else ""
        bar = "#" * (done * 30 // total) if total else ""
        line = f"{name}  {done / 1e6:.1f}{of} MB"
        if terminal:
            line = f"\r{line}  [{bar:<30}]"
        self._stream.write(line + ("\n" if finished or not terminal else ""))
        self._stream.flush()


def fetch_url(
    url: str,
    destination: Path | str,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    *,
    token: str | None = None,
) -> Path:
    """Download a file over HTTP, from where an earlier try stopped, and verify it.

    An unfinished download is kept beside `destination` with the suffix ".part". A file that exists
    already is not downloaded again if it has the right size or, without a size, the right checksum.

    Args:
        url: http or https.
        destination: the file's path; its folder is created.
        sha256: the expected checksum, in hexadecimal.
        size: the expected number of bytes.
        progress: called as bytes come in, for example ProgressBar(); None is silent.
        token: shown to the server of `url`, and to none that it redirects to.

    Raises:
        DownloadError: the file cannot be downloaded, or is not what was promised.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url!r} is no http or https address")
    destination = Path(destination)
    with locked(destination):
        if not is_complete(destination, size, sha256):
            part = destination.with_name(destination.name + ".part")
            download = _Download(url, part, size, sha256 is not None, progress, token)
            resumed = part.exists()
            download.run()
            try:
                verify(part, size, sha256, url)
            except DownloadError:
                if not resumed:
                    raise
                # an earlier try may have left bytes of another version of the file
                download.run()
                verify(part, size, sha256, url)
            put_in_place(part, destination)
    return destination


def authorize(request: urllib.request.Request, token: str | None) -> None:
    """Show a token to the server of a request, but to none that it redirects to."""
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")


def is_complete(path: Path, size: int | None, sha256: str | None) -> bool:
    """Return whether a file is there with the right size or, without a size, the checksum."""
    if not path.is_file():
        return False
    if size is not None:
        return path.stat().st_size == size
    return sha256 is None or file_sha256(path) == sha256


def verify(path: Path, size: int | None, sha256: str | None, source: str) -> None:
    """Delete a file and raise DownloadError if it is not what was promised.

    Args:
        source: where it came from, for the message.
    """
    have = path.stat().st_size
    if size is not None and have != size:
        path.unlink()
        raise DownloadError(f"{source} gave {have} bytes, and {size} were promised; try again")
    if sha256 is not None and (got := file_sha256(path)) != sha256:
        path.unlink()
        raise DownloadError(
            f"{source} gave another file than promised: its SHA-256 is {got}, and {sha256} was "
            "expected; try again, and if that does not help, the source has changed"
        )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_in_place(part: Path, destination: Path) -> None:
    """Write a finished file to the disk, and give it its final name."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(destination)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time work on `path`; the others wait. A dead process holds no lock."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f".{path.name}.lock").open("ab")
    with file:
        _lock(file)
        yield


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing `path` into DownloadError with a hint."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"the disk of {path.parent} is full: free some space and try again; the bytes "
                "that have come are kept"
            ) from error
        raise DownloadError(
            f"cannot write {path}: {error}; choose another folder with OXILLAMA_CACHE"
        ) from error


def need_space(folder: Path, n_bytes: int) -> None:
    """Raise DownloadError if the disk has less free space."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise DownloadError(
            f"{n_bytes / 1e6:.0f} MB are needed in {folder}, and {free / 1e6:.0f} MB are free: "
            "free some space, or choose another folder with OXILLAMA_CACHE"
        )


class _InterruptedError(Exception):
    """The connection ended early; another try may continue where this one stopped."""


class _Download:
    """The download of one file into `part`, over as many connections as it takes."""

    def __init__(
        self,
        url: str,
        part: Path,
        size: int | None,
        has_sum: bool,
        progress: Progress | None,
        token: str | None,
    ) -> None:
        self._url = url
        self._part = part
        self._size = size
        self._has_sum = has_sum
        self._progress = progress
        self._label = part.name.removesuffix(".part")
        self._token = token
        # what the server calls this version of the file; nothing can be resumed without it
        self._tag = part.with_name(part.name + ".tag")

    def run(self) -> None:
        """Try until the file is whole. Give up after several tries without a new byte."""
        waits = iter(_RETRY_SECONDS)
        while True:
            before = self._have()
            try:
                self._connect()
            except _InterruptedError as reason:
                if self._have() > before:
                    waits = iter(_RETRY_SECONDS)
                wait = next(waits, None)
                if wait is None:
                    raise DownloadError(
                        f"cannot download {self._url}: {reason}; {self._have()} bytes are kept, "
                        "so another try continues from there"
                    ) from reason
                time.sleep(wait)
            else:
                self._tag.unlink(missing_ok=True)
                return

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _connect(self) -> None:
        """Ask for the missing bytes over one connection, and append them."""
        have = self._have()
        if self._size is not None and have == self._size:
            return
        tag = self._tag.read_text() if self._tag.exists() else ""
        if not (tag or self._has_sum) or (self._size is not None and have > self._size):
            have = 0  # nothing could tell whether old and new bytes belong together
        request = urllib.request.Request(self._url, headers={"Accept-Encoding": "identity"})
        authorize(request, self._token)
        if have:
            request.add_header("Range", f"bytes={have}-")
            if tag:
                request.add_header("If-Range", tag)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
                self._receive(response, have)
        except urllib.error.HTTPError as error:
            self._refused(error, have)
        except (http.client.HTTPException, urllib.error.URLError, OSError) as error:
            raise _InterruptedError(getattr(error, "reason", None) or error) from error

    def _receive(self, response: Any, have: int) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError(f"{self._url} comes compressed, although that was declined")
        if response.status != 206:
            have = 0  # the whole file comes: the server knows no ranges, or the file has changed
        elif _range_start(response.headers.get("Content-Range", "")) != have:
            self._part.unlink(missing_ok=True)
            raise _InterruptedError("the server sent another range than asked for")
        total = _total(response.headers, have)
        if total is not None and self._size is not None and total != self._size:
            raise DownloadError(
                f"{self._url} has {total} bytes, and {self._size} were promised: it is another file"
            )
        with disk_errors(self._part):
            need_space(self._part.parent, (total or have) - have)
            self._tag.write_text(_version_tag(response.headers))
        self._append(response, have, total)

    def _append(self, response: Any, have: int, total: int | None) -> None:
        limit = total if total is not None else self._size
        with disk_errors(self._part):
            file = self._part.open("r+b" if have else "wb")
        with file:
            file.seek(have)
            while data := response.read(_CHUNK):
                have += len(data)
                if limit is not None and have > limit:
                    raise DownloadError(f"{self._url} gives more than the {limit} bytes promised")
                with disk_errors(self._part):
                    file.write(data)
                    file.flush()
                if self._progress:
                    self._progress(self._label, have, limit)
        if limit is not None and have < limit:
            raise _InterruptedError(f"the connection ended after {have} of {limit} bytes")

    def _refused(self, error: urllib.error.HTTPError, have: int) -> None:
        """Handle an error status. 416: nothing is left to send, or the kept bytes are useless."""
        if error.code == 416 and have:
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            self._part.unlink()
            raise _InterruptedError(
                "the server cannot continue from the bytes that are kept"
            ) from error
        reason = f"the server answers {error.code} {error.reason}"
        if error.code in _RETRY_STATUS:
            raise _InterruptedError(reason) from error
        raise DownloadError(f"cannot download {self._url}: {reason}") from error


def _range_start(content_range: str) -> int:
    """Return the first byte of a range like "bytes 100-199/200"; -1 if it is none."""
    unit, _, rest = content_range.partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else -1


def _total(headers: Any, have: int) -> int | None:
    """Return the whole file's size, from "bytes 100-199/200" or from the length of the rest."""
    whole = headers.get("Content-Range", "").rpartition("/")[2]
    if whole.isdigit():
        return int(whole)
    left = headers.get("Content-Length", "")
    return have + int(left) if left.isdigit() else None


def _version_tag(headers: Any) -> str:
    """Return what If-Range takes: a strong ETag, or the date of the last change, or nothing."""
    tag = headers.get("ETag", "")
    return str(tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", ""))


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            # msvcrt gives up after ten seconds
            with contextlib.suppress(OSError):
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                return
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
