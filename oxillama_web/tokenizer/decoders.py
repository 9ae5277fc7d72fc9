"""The "decoder" of a tokenizer.json: how tokens become text again, one token at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .bpe import byte_of_token
from .byte_level import byte_chars_to_bytes
from .growth import MAX_STEPS, check_length, length_limit
from .json_node import Node
from .replacement import Replacement

_WHAT = "decoder"
_MAX_COUNT = (1 << 32) - 1
_ALL_SPACES = 1 << 30
# a token's text, and how long it may become
_TextStep = Callable[[str, int], str]


class Decoder(NamedTuple):
    """How tokens become text.

    Attributes:
        to_bytes: a token's text to the bytes that it stands for.
        leading_spaces: the most spaces that are removed from the start of a text.
    """

    to_bytes: Callable[[str], bytes]
    leading_spaces: int = 0


def build_decoder(node: Node | None) -> Decoder:
    """Return what a "decoder" object describes.

    Raises:
        TokenizerError: it is broken, or its type is not supported.
    """
    if node is None:
        return Decoder(lambda token: (" " + token).encode(), 1)
    builder = _Builder()
    _add(builder, node)
    return builder.decoder()


class _Builder:
    """What the steps of a decoder have added so far."""

    def __init__(self) -> None:
        self.n_steps = 0
        self.texts: list[_TextStep] = []
        self.to_bytes: Callable[[str], bytes] = str.encode
        self.leading_spaces = 0
        self.is_fused = False

    def decoder(self) -> Decoder:
        """Return the whole decoder."""
        texts, to_bytes = self.texts, self.to_bytes

        def decode(token: str) -> bytes:
            limit = length_limit(len(token))
            for text in texts:
                token = text(token, limit)
                check_length(len(token), limit, _WHAT)
            return to_bytes(token)

        return Decoder(decode if texts else to_bytes, self.leading_spaces)


def _add(builder: _Builder, node: Node) -> None:
    builder.n_steps += 1
    if builder.n_steps > MAX_STEPS:
        raise node.error(f"is more than {MAX_STEPS} steps")
    node.choice("type", _BUILDERS, _WHAT)(builder, node)


def _sequence(builder: _Builder, node: Node) -> None:
    for item in node.items("decoders"):
        _add(builder, item)


def _byte_level(builder: _Builder, _: Node) -> None:
    builder.to_bytes = byte_chars_to_bytes


def _byte_fallback(builder: _Builder, _: Node) -> None:
    builder.to_bytes = _byte_or_text


def _fuse(builder: _Builder, _: Node) -> None:
    builder.is_fused = True


def _replace(builder: _Builder, node: Node) -> None:
    builder.texts.append(Replacement(node, _WHAT))


def _strip(builder: _Builder, node: Node) -> None:
    content = node.text("content")
    start = node.integer("start", 0, _MAX_COUNT)
    stop = node.integer("stop", 0, _MAX_COUNT)
    if builder.is_fused:
        # what is stripped from the end of a text cannot be known while it still grows
        builder.leading_spaces = start if content == " " else 0
    else:
        builder.texts.append(lambda token, _: _stripped(token, content, start, stop))


def _metaspace(builder: _Builder, node: Node) -> None:
    mark = node.text("replacement", "▁")
    if len(mark) != 1:
        raise node.member("replacement").error("is not one character")
    builder.texts.append(lambda token, _: token.replace(mark, " "))
    schemes = {"always": True, "first": True, "never": False}
    prepends = node.choice("prepend_scheme", schemes, "prepend scheme", "always")
    if prepends and node.flag("add_prefix_space", True):
        builder.leading_spaces = _ALL_SPACES


def _word_piece(builder: _Builder, node: Node) -> None:
    prefix, cleanup = node.text("prefix", "##"), node.flag("cleanup", True)

    def decode(token: str, _: int) -> str:
        if token.startswith(prefix):
            return token[len(prefix) :]
        token = " " + token
        if cleanup:
            for text in _CLEANED:
                token = token.replace(text, text[1:])
        return token

    builder.texts.append(decode)
    builder.leading_spaces = 1


def _byte_or_text(token: str) -> bytes:
    byte = byte_of_token(token)
    return token.encode() if byte is None else byte


def _stripped(token: str, content: str, start: int, stop: int) -> str:
    first, last = 0, len(token)
    while first < min(start, last) and token[first] == content:
        first += 1
    while last > max(first, len(token) - stop) and token[last - 1] == content:
        last -= 1
    return token[first:last]


_CLEANED = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")
_BUILDERS: dict[str, Callable[[_Builder, Node], None]] = {
    "Sequence": _sequence,
    "ByteLevel": _byte_level,
    "Replace": _replace,
    "ByteFallback": _byte_fallback,
    "Fuse": _fuse,
    "Strip": _strip,
    "Metaspace": _metaspace,
    "WordPiece": _word_piece,
}
