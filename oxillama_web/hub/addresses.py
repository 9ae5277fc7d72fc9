"""How a model is named: by a repository of the model hub, or by the address of a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from ..errors import InvalidRequestError

# huggingface_hub reads the same variable.
DEFAULT_ENDPOINT = "https://huggingface.co"

_FORMS = (
    "hf:owner/name or owner/name, with a quantization as in owner/name:Q4_K_M if you like, or an "
    "http(s) address"
)
_NAME = r"[A-Za-z0-9][\w.-]*/[\w.-]+"
_REPOSITORY = re.compile(rf"({_NAME})(?:@([\w.-]+))?(?:/([^:]+\.gguf))?(?::([\w.-]+))?")
_PAGES = frozenset({"blob", "resolve", "raw", "tree"})


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of models, and what of it is asked for.

    Attributes:
        name: "owner/name".
        revision: a branch, tag or commit.
        file: the path of a GGUF file in it, the first one of several; "" leaves the choice open.
        quantization: such as "Q4_K_M"; "" leaves the choice open.
    """

    name: str
    revision: str = "main"
    file: str = ""
    quantization: str = ""

    def file_url(self, endpoint: str, path: str, revision: str) -> str:
        """Return the address that a file of the repository is downloaded from."""
        return f"{endpoint}/{self.name}/resolve/{quote(revision, safe='')}/{quote(path)}"


def hub_endpoint(endpoint: str | None = None) -> str:
    """Return the model hub's address: the argument, else $HF_ENDPOINT, else the public hub's."""
    chosen = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if urlsplit(chosen).scheme not in ("http", "https"):
        raise InvalidRequestError(f"the model hub's address is {chosen!r}; it must begin with http")
    return chosen


def is_address(text: str) -> bool:
    """Return whether a text names a model on a server, and not a file of this machine."""
    if text.startswith(("hf:", "http://", "https://")):
        return True
    match = _REPOSITORY.fullmatch(text)
    # folder/model.gguf is a file that is missing
    return match is not None and not text.lower().endswith(".gguf")


def parse_address(text: str, endpoint: str) -> Repository | str:
    """Return the repository that a text names, or the address of a file.

    Args:
        text: one of the forms of `fetch`.
        endpoint: the model hub's address, whose pages are recognized.

    Raises:
        InvalidRequestError: it is none of these forms.
    """
    if not text.startswith(("http://", "https://")):
        match = _REPOSITORY.fullmatch(text.removeprefix("hf:"))
        if match is None:
            raise InvalidRequestError(f"{text!r} names no model; write {_FORMS}")
        name, revision, file, quantization = match.groups(default="")
        return Repository(name, revision or "main", file, quantization)
    url = urlsplit(text)
    if url.netloc not in (urlsplit(endpoint).netloc, "hf.co"):
        return text
    owner, name, *rest = [unquote(part) for part in url.path.strip("/").split("/")] + ["", ""]
    page, revision, *path = [part for part in rest if part] + ["", ""]
    file = "/".join(part for part in path if part)
    is_page = page == "" or (page in _PAGES and revision != "")
    if not re.fullmatch(_NAME, f"{owner}/{name}") or not is_page:
        raise InvalidRequestError(f"{text} is no page of a model; write {_FORMS}")
    return Repository(f"{owner}/{name}", revision or "main", file if page != "tree" else "")
