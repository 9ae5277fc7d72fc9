"""The "pre_tokenizer" of a tokenizer.json: how text is split into pre-tokens."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from .byte_level import text_to_byte_chars
from .growth import check_length, length_limit
from .json_node import Node
from .regex import UnicodeRegex
from .replacement import pattern_of
from .steps import Builders, Step, Steps

_WHAT = "pre-tokenizer"
# (pieces, whether the first one starts the whole text) to smaller pieces
_Apply = Callable[[list[str], bool], list[str]]
# a text to what lies between matches (even indices) and the matches (odd indices)
_Split = Callable[[str], list[str]]

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_PUNCTUATION = r"\p{rust:punctuation}"
_SPACES = r"\s"
_WORDS = r"\p{rust:word}+|[^\p{rust:word}\s]+"
_DIGIT = r"\p{rust:numeric}"


class PreTokenizer(Steps[_Apply]):
    """Splits texts into pre-tokens, as a "pre_tokenizer" object describes."""

    def __init__(self, node: Node | None) -> None:
        super().__init__(node, _WHAT, "pretokenizers", _BUILDERS)

    def __call__(self, text: str, at_start: bool) -> list[str]:
        """Return the pre-tokens of a text.

        Args:
            text: what to split.
            at_start: whether it starts the whole text.

        Raises:
            TokenizerError: the text would become absurdly long.
        """
        limit = length_limit(len(text))
        pieces = [text]
        for step in self._steps:
            pieces = step(pieces, at_start)
            check_length(sum(map(len, pieces)), limit, _WHAT)
        return pieces


def _split(node: Node) -> list[Step[_Apply]]:
    pattern = node.member("pattern")
    arrange = node.choice("behavior", _BEHAVIORS, "split behavior")
    text = pattern.text("String") if "String" in pattern else ""
    if text:
        return [_splitting(_literal_splitter(text), arrange, node.flag("invert"))]
    regex = pattern_of(pattern)
    step = _splitting(regex.split, arrange, node.flag("invert"))
    return [step._replace(regex=regex)]


def _byte_level(node: Node) -> list[Step[_Apply]]:
    add_prefix_space = node.flag("add_prefix_space", True)
    regex = UnicodeRegex(_GPT2) if node.flag("use_regex", True) else None

    def apply(pieces: list[str], _: bool) -> list[str]:
        if add_prefix_space:
            pieces = [piece if piece.startswith(" ") else " " + piece for piece in pieces]
        if regex:
            pieces = [part for piece in pieces for part in regex.split(piece) if part]
        return list(map(text_to_byte_chars, pieces))

    return [Step(apply, growth=4)]


def _digits(node: Node) -> list[Step[_Apply]]:
    pattern = _DIGIT if node.flag("individual_digits") else _DIGIT + "+"
    return [_splitting(UnicodeRegex(pattern).split, _isolated)]


def _metaspace(node: Node) -> list[Step[_Apply]]:
    mark = node.text("replacement", "▁")
    if len(mark) != 1:
        raise node.member("replacement").error("is not one character")
    default = "always" if node.flag("add_prefix_space", True) else "never"
    schemes = {name: name for name in ("always", "first", "never")}
    scheme = node.choice("prepend_scheme", schemes, "prepend scheme", default)
    splits = node.flag("split", True)
    split = _splitting(_literal_splitter(mark), _merged_with_next).apply

    def apply(pieces: list[str], at_start: bool) -> list[str]:
        marked = []
        for index, piece in enumerate(pieces):
            piece = piece.replace(" ", mark)
            wanted = scheme == "always" or (scheme == "first" and at_start and index == 0)
            marked.append(mark + piece if wanted and not piece.startswith(mark) else piece)
        return split(marked, at_start) if splits else marked

    return [Step(apply, growth=2)]


def _pattern(pattern: str, arrange: _Arrange, invert: bool = False) -> list[Step[_Apply]]:
    """Return the step that splits by a pattern of ours."""
    return [_splitting(UnicodeRegex(pattern).split, arrange, invert)]


def _char_delimiter(node: Node) -> list[Step[_Apply]]:
    delimiter = node.text("delimiter")
    if len(delimiter) != 1:
        raise node.member("delimiter").error("is not one character")
    return [_splitting(_literal_splitter(delimiter), _removed)]


def _splitting(split: _Split, arrange: _Arrange, invert: bool = False) -> Step[_Apply]:
    def apply(pieces: list[str], _: bool) -> list[str]:
        if arrange is _isolated:
            return [part for piece in pieces for part in split(piece) if part]
        result = []
        for piece in pieces:
            # an empty match counts; between matches, nothing is nothing
            parts = [
                (part, bool(index % 2) != invert)
                for index, part in enumerate(split(piece))
                if part or index % 2
            ]
            result += [part for part in arrange(parts) if part]
        return result

    return Step(apply)


def _literal_splitter(pattern: str) -> _Split:
    def split(text: str) -> list[str]:
        parts = [pattern] * (2 * text.count(pattern) + 1)
        parts[::2] = text.split(pattern)
        return parts

    return split


# the functions below take parts and whether each is a match

_Parts = list[tuple[str, bool]]
_Arrange = Callable[[_Parts], list[str]]


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
    groups = groupby(parts, key=lambda part: part[1])
    return ["".join(part for part, _ in group) for _, group in groups]


_BEHAVIORS: dict[str, _Arrange] = {
    "Removed": _removed,
    "Isolated": _isolated,
    "MergedWithPrevious": _merged_with_previous,
    "MergedWithNext": _merged_with_next,
    "Contiguous": _contiguous,
}
_BUILDERS: Builders[_Apply] = {
    "Split": _split,
    "ByteLevel": _byte_level,
    "Digits": _digits,
    "Metaspace": _metaspace,
    "Whitespace": lambda _: _pattern(_WORDS, _removed, invert=True),
    "WhitespaceSplit": lambda _: _pattern(_SPACES, _removed),
    "Punctuation": lambda node: _pattern(
        _PUNCTUATION, node.choice("behavior", _BEHAVIORS, "split behavior", "Isolated")
    ),
    "BertPreTokenizer": lambda _: [
        *_pattern(_SPACES, _removed),
        *_pattern(_PUNCTUATION, _isolated),
    ],
    "CharDelimiterSplit": _char_delimiter,
}
