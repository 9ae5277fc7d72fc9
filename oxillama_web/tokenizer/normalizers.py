"""The "normalizer" of a tokenizer.json: what is done to text before it is split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import TokenizerError
from .byte_level import text_to_byte_chars
from .unicode_regex import WHITE_SPACE, UnicodeRegex

Normalizer = Callable[[str], str]
Spec = Mapping[str, Any]


def build_normalizer(spec: Spec | None) -> Normalizer:
    """The function that a "normalizer" object describes.

    Raises:
        TokenizerError: its type is not supported.
    """
    if spec is None:
        return lambda text: text
    kind = spec["type"]
    if kind not in _BUILDERS:
        raise TokenizerError(
            f"the normalizer {kind!r} is not supported; supported are: {', '.join(_BUILDERS)}"
        )
    return _BUILDERS[kind](spec)


def build_replacement(spec: Spec) -> Normalizer:
    """Replaces a text or a pattern by "content"."""
    content = spec["content"]
    pattern = spec["pattern"]
    if "String" in pattern:
        old = pattern["String"]
        return lambda text: text.replace(old, content)
    regex = UnicodeRegex(pattern["Regex"])
    return lambda text: regex.replace(text, content)


def _sequence(spec: Spec) -> Normalizer:
    steps = [build_normalizer(step) for step in spec["normalizers"]]

    def normalize(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return normalize


def _unicode_form(spec: Spec) -> Normalizer:
    form = spec["type"]

    def normalize(text: str) -> str:
        if text.isascii():
            return text
        import unicodedata

        return unicodedata.normalize(form, text)

    return normalize


def _prepend(spec: Spec) -> Normalizer:
    prefix = spec["prepend"]
    return lambda text: prefix + text if text else text


def _strip(spec: Spec) -> Normalizer:
    left, right = spec.get("strip_left", True), spec.get("strip_right", True)

    def normalize(text: str) -> str:
        if left:
            text = text.lstrip(WHITE_SPACE)
        return text.rstrip(WHITE_SPACE) if right else text

    return normalize


def _lowercase(text: str) -> str:
    # letter by letter: str.lower() would write a word's last sigma in another way
    return text.lower() if text.isascii() else "".join(map(str.lower, text))


def _strip_accents(text: str) -> str:
    if text.isascii():
        return text
    from unicodedata import category

    return "".join(char for char in text if not category(char).startswith("M"))


def _nmt(text: str) -> str:
    """As SentencePiece's nmt rules: controls go, odd spaces become plain ones."""
    removed = [*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]
    spaces = [0x09, 0x0A, 0x0C, 0x0D, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581]
    spaces += [0xFEFF, 0xFFFD]
    return text.translate({**dict.fromkeys(removed), **dict.fromkeys(spaces, " ")})


def _bert(spec: Spec) -> Normalizer:
    lowercase = spec.get("lowercase", True)
    strip_accents = spec.get("strip_accents")
    if strip_accents is None:
        strip_accents = lowercase
    clean_text = spec.get("clean_text", True)
    handle_chinese_chars = spec.get("handle_chinese_chars", True)

    def normalize(text: str) -> str:
        from unicodedata import normalize as to_form

        if clean_text:
            text = _clean_text(text)
        if handle_chinese_chars:
            text = "".join(f" {char} " if _is_chinese(ord(char)) else char for char in text)
        if strip_accents:
            from unicodedata import category

            text = "".join(char for char in to_form("NFD", text) if category(char) != "Mn")
        return _lowercase(text) if lowercase else text

    return normalize


def _clean_text(text: str) -> str:
    from unicodedata import category

    # controls go first, those that are white space too: U+000B, U+000C and U+0085
    kept = (
        char
        for char in text
        if char not in "\0\ufffd" and (char in "\t\n\r" or category(char) not in _CONTROLS)
    )
    return "".join(" " if char in WHITE_SPACE else char for char in kept)


def _is_chinese(code_point: int) -> bool:
    return any(first <= code_point <= last for first, last in _CHINESE)


_CONTROLS = ("Cc", "Cf", "Co")
_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_BUILDERS: dict[str, Callable[[Spec], Normalizer]] = {
    "Sequence": _sequence,
    "Replace": build_replacement,
    "Prepend": _prepend,
    "NFC": _unicode_form,
    "NFD": _unicode_form,
    "NFKC": _unicode_form,
    "NFKD": _unicode_form,
    "Strip": _strip,
    "StripAccents": lambda _: _strip_accents,
    "Lowercase": lambda _: _lowercase,
    "Nmt": lambda _: _nmt,
    "BertNormalizer": _bert,
    "ByteLevel": lambda _: text_to_byte_chars,
}
