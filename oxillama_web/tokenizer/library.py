"""Hugging Face's `tokenizers`, where it is installed: the same ids, encoded faster."""

from __future__ import annotations

from collections.abc import Callable

# (text, whether control tokens in it are tokens) to ids, without BOS and EOS
WholeTextEncoder = Callable[[str, bool], list[int]]


def find_library_encoder(tokenizer_json: str | bytes) -> WholeTextEncoder | None:
    """An encoder for a tokenizer.json; None where the library is missing or does not take it."""
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
