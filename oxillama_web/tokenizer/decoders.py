"""The "decoder" of a tokenizer.json: how tokens become text again, one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import TokenizerError
from .bpe import byte_of_token
from .byte_level import byte_chars_to_bytes
from .normalizers import build_replacement

Spec = Mapping[str, Any]
_ALL_SPACES = 1 << 30
_SUPPORTED = "Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece"


class Decoder(NamedTuple):
    """`to_bytes`: a token's bytes; `leading_spaces`: most that the first token loses in front."""

    to_bytes: Callable[[str], bytes]
    leading_spaces: int = 0


def build_decoder(spec: Spec | None) -> Decoder:
    """What a "decoder" object describes.

    Raises:
        TokenizerError: its type is not supported.
    """
    if spec is None:
        return Decoder(lambda token: (" " + token).encode(), 1)
    steps = list(_flatten(spec))
    texts: list[Callable[[str], str]] = []
    to_bytes: Callable[[str], bytes] = str.encode
    leading_spaces = 0
    is_fused = False
    for step in steps:
        kind = step["type"]
        if kind == "ByteLevel":
            to_bytes = byte_chars_to_bytes
        elif kind == "ByteFallback":
            to_bytes = _byte_or_text
        elif kind == "Fuse":
            is_fused = True
        elif kind == "Replace":
            texts.append(build_replacement(step))
        elif kind == "Strip" and is_fused:
            # what is stripped from the end of a text cannot be known while it still grows
            leading_spaces = step["start"] if step["content"] == " " else 0
        elif kind == "Strip":
            texts.append(_stripping(step["content"], step["start"], step["stop"]))
        elif kind == "Metaspace":
            mark = step.get("replacement", "▁")
            texts.append(lambda token, mark=mark: token.replace(mark, " "))  # type: ignore[misc]
            scheme = step.get("prepend_scheme", "always")
            if str(scheme).lower() != "never" and step.get("add_prefix_space", True):
                leading_spaces = _ALL_SPACES
        elif kind == "WordPiece":
            texts.append(_word_piece(step.get("prefix", "##"), step.get("cleanup", True)))
            leading_spaces = 1
        else:
            raise TokenizerError(
                f"the decoder {kind!r} is not supported; supported are: {_SUPPORTED}"
            )

    def decode(token: str) -> bytes:
        for text in texts:
            token = text(token)
        return to_bytes(token)

    return Decoder(decode if texts else to_bytes, leading_spaces)


def _flatten(spec: Spec) -> list[Spec]:
    if spec["type"] != "Sequence":
        return [spec]
    return [step for part in spec["decoders"] for step in _flatten(part)]


def _byte_or_text(token: str) -> bytes:
    byte = byte_of_token(token)
    return token.encode() if byte is None else byte


def _stripping(content: str, start: int, stop: int) -> Callable[[str], str]:
    def strip(token: str) -> str:
        first, last = 0, len(token)
        while first < min(start, last) and token[first] == content:
            first += 1
        while last > max(first, len(token) - stop) and token[last - 1] == content:
            last -= 1
        return token[first:last]

    return strip


def _word_piece(prefix: str, cleanup: bool) -> Callable[[str], str]:
    cleaned = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")

    def decode(token: str) -> str:
        if token.startswith(prefix):
            return token[len(prefix) :]
        token = " " + token
        if cleanup:
            for text in cleaned:
                token = token.replace(text, text[1:])
        return token

    return decode
