"""The "pre_tokenizer" of a tokenizer.json: how text is split into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import TokenizerError
from .byte_level import text_to_byte_chars
from .unicode_regex import UnicodeRegex

Spec = Mapping[str, Any]
# (pieces, whether the first one starts the whole text) to smaller pieces
PreTokenizer = Callable[[list[str], bool], list[str]]
_Split = Callable[[str], list[str]]

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_PUNCTUATION = r"\p{punctuation}"
_SPACES = r"\s"
_WORDS = r"\p{word_of_rust}+|[^\p{word_of_rust}\s]+"


def build_pre_tokenizer(spec: Spec | None) -> PreTokenizer:
    """The function that a "pre_tokenizer" object describes.

    Raises:
        TokenizerError: its type is not supported.
    """
    if spec is None:
        return lambda pieces, _: pieces
    kind = spec["type"]
    if kind not in _BUILDERS:
        raise TokenizerError(
            f"the pre-tokenizer {kind!r} is not supported; supported are: {', '.join(_BUILDERS)}"
        )
    return _BUILDERS[kind](spec)


def _sequence(spec: Spec) -> PreTokenizer:
    steps = [build_pre_tokenizer(step) for step in spec["pretokenizers"]]

    def pre_tokenize(pieces: list[str], at_start: bool) -> list[str]:
        for step in steps:
            pieces = step(pieces, at_start)
        return pieces

    return pre_tokenize


def _split(spec: Spec) -> PreTokenizer:
    pattern = spec["pattern"]
    regex = UnicodeRegex(pattern["Regex"]) if "Regex" in pattern else None
    alternate = regex.split if regex else _literal_splitter(pattern["String"])
    return _splitting(alternate, spec["behavior"], bool(spec.get("invert")))


def _byte_level(spec: Spec) -> PreTokenizer:
    add_prefix_space = spec.get("add_prefix_space", True)
    regex = UnicodeRegex(_GPT2) if spec.get("use_regex", True) else None

    def pre_tokenize(pieces: list[str], at_start: bool) -> list[str]:
        if add_prefix_space:
            pieces = [piece if piece.startswith(" ") else " " + piece for piece in pieces]
        if regex:
            pieces = [part for piece in pieces for part in regex.split(piece) if part]
        return list(map(text_to_byte_chars, pieces))

    return pre_tokenize


def _digits(spec: Spec) -> PreTokenizer:
    regex = UnicodeRegex(r"\p{numeric}" if spec.get("individual_digits") else r"\p{numeric}+")
    return _splitting(regex.split, "Isolated")


def _metaspace(spec: Spec) -> PreTokenizer:
    mark = spec.get("replacement", "▁")
    scheme = spec.get("prepend_scheme")
    if scheme is None:
        scheme = "always" if spec.get("add_prefix_space", True) else "never"
    scheme = str(scheme).lower()
    splits = spec.get("split", True)
    split = _splitting(_literal_splitter(mark), "MergedWithNext")

    def pre_tokenize(pieces: list[str], at_start: bool) -> list[str]:
        marked = []
        for index, piece in enumerate(pieces):
            piece = piece.replace(" ", mark)
            wanted = scheme == "always" or (scheme == "first" and at_start and index == 0)
            marked.append(mark + piece if wanted and not piece.startswith(mark) else piece)
        return split(marked, at_start) if splits else marked

    return pre_tokenize


def _bert(_: Spec) -> PreTokenizer:
    spaces = _splitting(UnicodeRegex(_SPACES).split, "Removed")
    punctuation = _splitting(UnicodeRegex(_PUNCTUATION).split, "Isolated")
    return lambda pieces, at_start: punctuation(spaces(pieces, at_start), at_start)


def _splitting(alternate: _Split, behavior: str, invert: bool = False) -> PreTokenizer:
    """Splits each piece at matches; `alternate` gives non-matches and matches in turn."""
    if behavior not in _BEHAVIORS:
        raise TokenizerError(
            f"the split behavior {behavior!r} is not supported; supported are: "
            f"{', '.join(_BEHAVIORS)}"
        )
    arrange = _BEHAVIORS[behavior]

    def pre_tokenize(pieces: list[str], _: bool) -> list[str]:
        if behavior == "Isolated":
            return [part for piece in pieces for part in alternate(piece) if part]
        result = []
        for piece in pieces:
            parts = alternate(piece)
            flags = [bool(index % 2) != invert for index in range(len(parts))]
            result += arrange(
                [(part, flag) for part, flag in zip(parts, flags, strict=True) if part]
            )
        return result

    return pre_tokenize


def _literal_splitter(pattern: str) -> _Split:
    def split(text: str) -> list[str]:
        parts = [pattern] * (2 * text.count(pattern) + 1)
        parts[::2] = text.split(pattern)
        return parts

    return split


# the functions below take parts and whether each is a match

_Parts = list[tuple[str, bool]]


def _removed(parts: _Parts) -> list[str]:
    return [part for part, is_match in parts if not is_match]


def _isolated(parts: _Parts) -> list[str]:
    return [part for part, _ in parts]


def _merged_with_previous(parts: _Parts) -> list[str]:
    merged: list[str] = []
    was_match = False
    for part, is_match in parts:
        if is_match and not was_match and merged:
            merged[-1] += part
        else:
            merged.append(part)
        was_match = is_match
    return merged


def _merged_with_next(parts: _Parts) -> list[str]:
    merged: list[str] = []
    was_match = False
    for part, is_match in reversed(parts):
        if is_match and not was_match and merged:
            merged[-1] = part + merged[-1]
        else:
            merged.append(part)
        was_match = is_match
    return merged[::-1]


def _contiguous(parts: _Parts) -> list[str]:
    merged: list[str] = []
    was_match = False
    for part, is_match in parts:
        if is_match == was_match and merged:
            merged[-1] += part
        else:
            merged.append(part)
        was_match = is_match
    return merged


_BEHAVIORS: dict[str, Callable[[_Parts], list[str]]] = {
    "Removed": _removed,
    "Isolated": _isolated,
    "MergedWithPrevious": _merged_with_previous,
    "MergedWithNext": _merged_with_next,
    "Contiguous": _contiguous,
}
_BUILDERS: dict[str, Callable[[Spec], PreTokenizer]] = {
    "Sequence": _sequence,
    "Split": _split,
    "ByteLevel": _byte_level,
    "Digits": _digits,
    "Metaspace": _metaspace,
    "Whitespace": lambda _: _splitting(UnicodeRegex(_WORDS).split, "Removed", invert=True),
    "WhitespaceSplit": lambda _: _splitting(UnicodeRegex(_SPACES).split, "Removed"),
    "Punctuation": lambda spec: _splitting(
        UnicodeRegex(_PUNCTUATION).split, spec.get("behavior", "Isolated")
    ),
    "BertPreTokenizer": _bert,
    "CharDelimiterSplit": lambda spec: _splitting(_literal_splitter(spec["delimiter"]), "Removed"),
}
