"""The model hub: what its repositories hold, and their files on this machine.

The paths are those of https://huggingface.co/docs/hub/api: /api/models/NAME/revision/REVISION lists
the files with their sizes and SHA-256, /NAME/resolve/REVISION/FILE is a file.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import DownloadError, InvalidRequestError
from .addresses import Repository
from .choice import Candidate, RepositoryFile, choose
from .download import Progress, authorize, fetch_url, put_in_place, verify

_TIMEOUT_SECONDS = 30
_MAX_LISTING_BYTES = 64 << 20


class Listing:
    """What a revision of a repository holds.

    Attributes:
        commit: the revision's commit, so that all files are of the same one.
        files: all of them.
    """

    def __init__(self, answer: Any) -> None:
        """Read the hub's answer. Raises DownloadError if it is none."""
        try:
            self.commit = str(answer["sha"])
            self.files = [_file(each) for each in answer["siblings"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DownloadError(f"the model hub's answer cannot be read: {error!r}") from error


def choose_model(
    repository: Repository,
    endpoint: str,
    token: str | None = None,
    *,
    cache: Path | None = None,
    max_bytes: int = 0,
) -> tuple[Listing, Candidate]:
    """Return what the repository holds, and which of it is asked for.

    Args:
        token: for private repositories; None is $HF_TOKEN.
        cache: keeps the list for times without a network.
        max_bytes: see `choose`.

    Raises:
        DownloadError: the hub cannot be reached, or does not know the repository.
        InvalidRequestError: it holds no such model.
    """
    listing = _list(repository, endpoint, token, cache)
    try:
        found = choose(listing.files, repository.file, repository.quantization, max_bytes)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{repository.name}: {error}") from None
    return listing, found


def fetch_model(
    repository: Repository,
    endpoint: str,
    token: str | None,
    folder: Path,
    progress: Progress,
    *,
    shared: bool,
    max_bytes: int = 0,
) -> Path:
    """Return the path of a repository's model, which is downloaded unless it is here.

    Args:
        folder: what is kept there has a folder for each file's contents.
        shared: use huggingface_hub's cache instead, if that is installed.
        max_bytes: see `choose`.
    """
    kept = folder / repository.name.replace("/", "--")
    listing, found = choose_model(repository, endpoint, token, cache=kept, max_bytes=max_bytes)
    if shared and _has_hub_library():
        paths = [
            _fetch_shared(repository.name, listing.commit, file, endpoint, token)
            for file in found.files
        ]
        return paths[0]
    # another version of a file has another folder, and all parts are in that of the first
    place = kept / (found.files[0].sha256[:16] or listing.commit[:16])
    for file in found.files:
        fetch_url(
            repository.file_url(endpoint, file.path, listing.commit),
            place / Path(file.path).name,
            file.sha256 or None,
            file.size,
            progress,
            token=access_token(token),
        )
    return place / Path(found.files[0].path).name


def access_token(token: str | None) -> str | None:
    """Return the token for private repositories: the argument, else $HF_TOKEN."""
    return token or os.environ.get("HF_TOKEN") or None


def _list(repository: Repository, endpoint: str, token: str | None, cache: Path | None) -> Listing:
    name, revision = repository.name, repository.revision
    url = f"{endpoint}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"
    kept = None if cache is None else cache / f"files-{quote(revision, safe='')}.json"
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    authorize(request, access_token(token))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            data = response.read(_MAX_LISTING_BYTES)
        listing = Listing(json.loads(data))
    except urllib.error.HTTPError as error:
        raise _refusal(error, repository) from error
    except (OSError, http.client.HTTPException) as error:
        if kept is None or not kept.is_file():
            reason = getattr(error, "reason", None) or error
            raise DownloadError(f"cannot reach the model hub at {endpoint}: {reason}") from error
        return Listing(json.loads(kept.read_bytes()))
    except ValueError as error:
        raise DownloadError(f"{url} gives no JSON: {error}") from error
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
        part.write_bytes(data)
        put_in_place(part, kept)
    return listing


def _file(answer: Any) -> RepositoryFile:
    lfs = answer.get("lfs") or {}
    size = lfs.get("size", answer.get("size"))
    return RepositoryFile(str(answer["rfilename"]), int(size or 0), str(lfs.get("sha256", "")))


def _refusal(error: urllib.error.HTTPError, repository: Repository) -> DownloadError:
    where = f"{repository.name} (revision {repository.revision})"
    if error.code in (401, 403, 404):
        return DownloadError(
            f"the model hub has no repository {where}, or it is private or asks you to accept its "
            f"terms: look at its page, and set HF_TOKEN to a token of yours"
        )
    return DownloadError(f"the model hub answers {error.code} {error.reason} for {where}")


# huggingface_hub's cache


def _has_hub_library() -> bool:
    from importlib.util import find_spec

    return find_spec("huggingface_hub") is not None


def _fetch_shared(
    name: str, commit: str, file: RepositoryFile, endpoint: str, token: str | None
) -> Path:
    """Return a file in huggingface_hub's cache, to which that library downloads it if need be."""
    import huggingface_hub

    kept = huggingface_hub.try_to_load_from_cache(name, file.path, revision=commit)
    if isinstance(kept, str) and Path(kept).stat().st_size == file.size:
        return Path(kept)
    try:
        path = Path(
            huggingface_hub.hf_hub_download(
                name,
                file.path,
                revision=commit,
                endpoint=endpoint,
                token=access_token(token) or False,
            )
        )
    except Exception as error:  # its own, and those of the library that it uses for HTTP
        raise DownloadError(f"cannot download {file.path} of {name}: {error}") from error
    # the name in its cache is a link
    verify(path.resolve(), file.size, file.sha256 or None, f"{file.path} of {name}")
    return path
