"""The HF tokenizers backend: the package `tokenizers` gives the same ids, but faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .special_tokens import SpecialToken

# Encodes a text, without BOS and EOS; returns None if the package fails. Arguments: the text, and
# whether control tokens in it are read as tokens.
HFBackend = Callable[[str, bool], list[int] | None]

T = TypeVar("T")


def find_hf_backend(tokenizer_json: str | bytes, added: Iterable[SpecialToken]) -> HFBackend | None:
    """Return an encoder; None if the package is missing or understands the file differently.

    Args:
        tokenizer_json: the file.
        added: its added tokens, as we understand them.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    library = _result(lambda: _loaded(Tokenizer, tokenizer_json, added))
    if library is None:
        return None

    def encode(text: str, parse_special: bool) -> list[int] | None:
        def ids() -> list[int]:
            library.encode_special_tokens = not parse_special
            found: list[int] = library.encode(text, add_special_tokens=False).ids
            return found

        return _result(ids)

    return encode


def _loaded(library_class: Any, tokenizer_json: str | bytes, added: Iterable[SpecialToken]) -> Any:
    """Return the library's tokenizer, or None if its ids would be other ones than ours."""
    text = tokenizer_json if isinstance(tokenizer_json, str) else tokenizer_json.decode()
    library = library_class.from_str(text)
    library.no_truncation()
    library.no_padding()
    if getattr(library.model, "dropout", None):
        return None  # its ids are random
    # it numbers added tokens itself if the file's numbers do not suit it
    same = all(library.token_to_id(token.text) == token.id for token in added)
    return library if same else None


def _result(call: Callable[[], T]) -> T | None:
    """Return what a call of the library returns; None if it fails.

    What it raises is of no class of its own, and its panics are not even Exceptions.
    """
    try:
        return call()
    except Exception:
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None
