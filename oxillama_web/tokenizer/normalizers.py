"""The "normalizer" of a tokenizer.json: what is done to text before it is split."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Literal

from .byte_level import text_to_byte_chars
from .growth import MAX_INSERTED, check_length, length_limit
from .json_node import Node
from .regex import WHITE_SPACE, UnicodeRegex
from .replacement import Replacement
from .steps import Builders, Step, Steps

_WHAT = "normalizer"
# what is done to a text; the second argument is how long it may become
_Apply = Callable[[str, int], str]


class Normalizer(Steps[_Apply]):
    """Changes texts before they are split, as a "normalizer" object describes."""

    def __init__(self, node: Node | None) -> None:
        super().__init__(node, _WHAT, "normalizers", _BUILDERS)

    def __call__(self, text: str) -> str:
        """Return the text after all steps.

        Raises:
            TokenizerError: it would become absurdly long.
        """
        limit = length_limit(len(text))
        for step in self._steps:
            text = step(text, limit)
            check_length(len(text), limit, _WHAT)
        return text


def _replace(node: Node) -> list[Step[_Apply]]:
    replacement = Replacement(node, _WHAT)
    return [Step(replacement, replacement.growth, replacement.regex)]


def _simple(function: Callable[[str], str], growth: float = 1.0) -> list[Step[_Apply]]:
    return [Step(lambda text, _: function(text), growth)]


def _form(name: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """Return a Unicode normalization form.

    Hugging Face's tables are those of Unicode 9: characters that came later stay as they are, and
    where they are.
    """
    if text.isascii():
        return text
    import unicodedata

    parts = _pattern(r"\p{rust:unnormalized}").split(text)
    parts[::2] = [unicodedata.normalize(name, part) for part in parts[::2]]
    return "".join(parts)


@cache
def _pattern(pattern: str) -> UnicodeRegex:
    return UnicodeRegex(pattern)


def _prepend(node: Node) -> list[Step[_Apply]]:
    prefix = node.text("prepend", max_length=MAX_INSERTED)
    return _simple(lambda text: prefix + text if text else text)


def _strip(node: Node) -> list[Step[_Apply]]:
    left, right = node.flag("strip_left", True), node.flag("strip_right", True)

    def strip(text: str) -> str:
        if left:
            text = text.lstrip(WHITE_SPACE)
        return text.rstrip(WHITE_SPACE) if right else text

    return _simple(strip)


def _lowercase(text: str) -> str:
    # letter by letter: str.lower() would write a word's last sigma in another way
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def _lower(char: str) -> str:
    if char >= _FIRST_NEW_CAPITAL:
        for first, last, distance in _NEW_CAPITALS:
            if first <= ord(char) <= last:
                return chr(ord(char) + distance)
    return char.lower()


def _strip_accents(text: str) -> str:
    if text.isascii():
        return text
    return _pattern(r"\p{rust:stripped_accent}").replace(text, "")


def _nmt(text: str) -> str:
    """Remove controls and replace odd spaces by plain ones, as SentencePiece's nmt rules do."""
    removed = [*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]
    spaces = [0x09, 0x0A, 0x0C, 0x0D, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581]
    spaces += [0xFEFF, 0xFFFD]
    return text.translate({**dict.fromkeys(removed), **dict.fromkeys(spaces, " ")})


def _bert(node: Node) -> list[Step[_Apply]]:
    lowercase = node.flag("lowercase", True)
    strip_accents = node.flag("strip_accents", lowercase)
    clean_text = node.flag("clean_text", True)
    handle_chinese_chars = node.flag("handle_chinese_chars", True)
    cleaned, space = _pattern(r"\p{rust:cleaned_by_bert}"), _pattern(r"\s")
    chinese, accents = _pattern(CHINESE), _pattern(r"\p{rust:stripped_by_bert}")

    def normalize(text: str) -> str:
        if clean_text:
            # controls go first, those that are white space too: U+000B, U+000C and U+0085
            text = space.replace(cleaned.replace(text, ""), " ")
        if handle_chinese_chars and not text.isascii():
            parts = chinese.split(text)
            parts[1::2] = [f" {char} " for char in parts[1::2]]
            text = "".join(parts)
        if strip_accents and not text.isascii():
            text = accents.replace(_form("NFD", text), "")
        return _lowercase(text) if lowercase else text

    return _simple(normalize, growth=4)


CHINESE = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}"
    r"\x{2B740}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
# capitals of Unicode 16 and 17, which Python may be too old to know: the first, the last, and the
# distance to the small one
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
_BUILDERS: Builders[_Apply] = {
    "Replace": _replace,
    "Prepend": _prepend,
    "NFC": lambda _: _simple(partial(_form, "NFC"), growth=3),
    "NFD": lambda _: _simple(partial(_form, "NFD"), growth=4),
    "NFKC": lambda _: _simple(partial(_form, "NFKC"), growth=18),
    "NFKD": lambda _: _simple(partial(_form, "NFKD"), growth=18),
    "Strip": _strip,
    "StripAccents": lambda _: _simple(_strip_accents),
    "Lowercase": lambda _: _simple(_lowercase, growth=3),
    "Nmt": lambda _: _simple(_nmt),
    "BertNormalizer": _bert,
    "ByteLevel": lambda _: _simple(text_to_byte_chars, growth=4),
}
