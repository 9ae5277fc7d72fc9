"""The HF tokenizers backend: the package `tokenizers` gives the same ids, but faster."""

from __future__ import annotations

from collections.abc import Callable

# Encodes a text, without BOS and EOS. Arguments: the text, and whether control tokens in it are
# read as tokens.
HFBackend = Callable[[str, bool], list[int]]


def find_hf_backend(tokenizer_json: str | bytes) -> HFBackend | None:
    """Return an encoder of a tokenizer.json; None if the package is missing or refuses it."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    text = tokenizer_json if isinstance(tokenizer_json, str) else tokenizer_json.decode()
    try:
        library = Tokenizer.from_str(text)
        library.no_truncation()
        library.no_padding()
    except Exception:  # what it raises is of no class of its own
        return None

    def encode(text: str, parse_special: bool) -> list[int]:
        library.encode_special_tokens = not parse_special
        ids: list[int] = library.encode(text, add_special_tokens=False).ids
        return ids

    return encode
