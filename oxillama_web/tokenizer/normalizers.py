"""The "normalizer" of a tokenizer.json: what is done to text before it is split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

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
    return _form(spec["type"])


def _form(name: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> Normalizer:
    """A Unicode normalization form. Hugging Face's tables are those of Unicode 9: characters that
    came later stay as they are, and where they are."""
    newer = UnicodeRegex(r"\p{unnormalized}")

    def normalize(text: str) -> str:
        if text.isascii():
            return text
        import unicodedata

        parts = newer.split(text)
        parts[::2] = [unicodedata.normalize(name, part) for part in parts[::2]]
        return "".join(parts)

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
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def _lower(char: str) -> str:
    if char >= _FIRST_NEW_CAPITAL:
        for first, last, distance in _NEW_CAPITALS:
            if first <= ord(char) <= last:
                return chr(ord(char) + distance)
    return char.lower()


def _strip_accents(_: Spec) -> Normalizer:
    accents = UnicodeRegex(r"\p{stripped_accent}")
    return lambda text: text if text.isascii() else accents.replace(text, "")


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
    cleaned, space = UnicodeRegex(r"\p{cleaned_by_bert}"), UnicodeRegex(r"\s")
    chinese = UnicodeRegex(CHINESE)
    decompose, accents = _form("NFD"), UnicodeRegex(r"\p{stripped_by_bert}")

    def normalize(text: str) -> str:
        if clean_text:
            # controls go first, those that are white space too: U+000B, U+000C and U+0085
            text = space.replace(cleaned.replace(text, ""), " ")
        if handle_chinese_chars and not text.isascii():
            parts = chinese.split(text)
            parts[1::2] = [f" {char} " for char in parts[1::2]]
            text = "".join(parts)
        if strip_accents and not text.isascii():
            text = accents.replace(decompose(text), "")
        return _lowercase(text) if lowercase else text

    return normalize


CHINESE = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}"
    r"\x{2B740}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
# capitals of Unicode 16 and 17, which Python may be too old to know: first, last, to the small one
_NEW_CAPITALS = (
    (0x1C89, 0x1C89, 1),
    (0xA7CB, 0xA7CB, 0x264 - 0xA7CB),
    (0xA7CC, 0xA7CC, 1),
    (0xA7CE, 0xA7CE, 1),
    (0xA7D2, 0xA7D2, 1),
    (0xA7D4, 0xA7D4, 1),
    (0xA7DA, 0xA7DA, 1),
    (0xA7DC, 0xA7DC, 0x19B - 0xA7DC),
    (0x10D50, 0x10D65, 0x20),
    (0x16EA0, 0x16EB8, 0x1B),
)
_FIRST_NEW_CAPITAL = "\u1c89"
_BUILDERS: dict[str, Callable[[Spec], Normalizer]] = {
    "Sequence": _sequence,
    "Replace": build_replacement,
    "Prepend": _prepend,
    "NFC": _unicode_form,
    "NFD": _unicode_form,
    "NFKC": _unicode_form,
    "NFKD": _unicode_form,
    "Strip": _strip,
    "StripAccents": _strip_accents,
    "Lowercase": lambda _: _lowercase,
    "Nmt": lambda _: _nmt,
    "BertNormalizer": _bert,
    "ByteLevel": lambda _: text_to_byte_chars,
}
