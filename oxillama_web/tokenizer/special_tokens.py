"""Tokens that are cut out of a text before it is encoded, such as <|im_start|>."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from .regex import WHITE_SPACE, UnicodeRegex

# what C's isspace() accepts in the "C" locale
_ASCII_SPACE = " \t\n\v\f\r"


class SpecialToken(NamedTuple):
    """A token whose text is matched literally.

    A control token is matched only if the caller asks for it, and is not shown in decoded text.
    With `lstrip` and `rstrip` a match takes the white space before and after it; with `single_word`
    only whole words match; with `normalized` (in a tokenizer.json) the normalized text is searched.
    """

    text: str
    id: int
    is_control: bool
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


class SpecialTokenSplitter:
    """Cuts special tokens out of a text; cheap even with thousands of them."""

    def __init__(self, tokens: Iterable[SpecialToken]) -> None:
        self._by_text: dict[str, SpecialToken] = {}
        # first character -> length -> texts
        self._index: dict[str, dict[int, set[str]]] = {}
        for token in tokens:
            if token.text:
                self._by_text[token.text] = token
                lengths = self._index.setdefault(token.text[0], {})
                lengths.setdefault(len(token.text), set()).add(token.text)

    def split_longest_first(self, text: str) -> list[str | SpecialToken]:
        """Cut out the longest tokens first, wherever they are, as llama.cpp does."""
        present = self._present(text)
        if not present:
            return [text] if text else []
        present.sort(key=lambda token: (-len(token.text.encode("utf-8", "replace")), token.id))
        taken = bytearray(len(text))
        matches: list[tuple[int, SpecialToken]] = []
        for token in present:
            length = len(token.text)
            start = text.find(token.text)
            while start >= 0:
                # tokens taken earlier are no shorter, so an overlap covers one of the two ends
                if taken[start] or taken[start + length - 1]:
                    start = taken.find(0, start + 1 if not taken[start] else start)
                    if start < 0:
                        break
                else:
                    taken[start : start + length] = b"\1" * length
                    matches.append((start, token))
                    start += length
                start = text.find(token.text, start)
        matches.sort()
        return _cut(text, matches, _ASCII_SPACE)

    def split_leftmost(self, text: str) -> list[str | SpecialToken]:
        """Cut out the leftmost token, the longest at its place, as Hugging Face tokenizers does."""
        present = self._present(text)
        if not present:
            return [text] if text else []
        import re

        present.sort(key=lambda token: -len(token.text))
        pattern = "|".join(re.escape(token.text) for token in present)
        matches = [
            (match.start(), self._by_text[match[0]])
            for match in re.finditer(pattern, text)
            if not self._by_text[match[0]].single_word or _is_whole_word(text, *match.span())
        ]
        return _cut(text, matches, WHITE_SPACE)

    def _present(self, text: str) -> list[SpecialToken]:
        """Return the tokens that occur in the text."""
        found = []
        for first, by_length in self._index.items():
            start = text.find(first)
            if start < 0:
                continue
            wanted = {length: set(texts) for length, texts in by_length.items()}
            while start >= 0 and wanted:
                for length in list(wanted):
                    candidate = text[start : start + length]
                    if candidate in wanted[length]:
                        found.append(self._by_text[candidate])
                        wanted[length].discard(candidate)
                        if not wanted[length]:
                            del wanted[length]
                start = text.find(first, start + 1)
        return found


def _is_whole_word(text: str, start: int, end: int) -> bool:
    return not (start and _is_word_char(text[start - 1])) and not (
        end < len(text) and _is_word_char(text[end])
    )


def _is_word_char(char: str) -> bool:
    return len(_word_char().split(char)) > 1


@cache
def _word_char() -> UnicodeRegex:
    """Return a pattern for what Rust's regex crate considers part of a word."""
    return UnicodeRegex(r"\p{rust:word}")


def _cut(
    text: str, matches: list[tuple[int, SpecialToken]], white_space: str
) -> list[str | SpecialToken]:
    """Replace the matches, given in ascending order, by their tokens; leave out empty texts."""
    parts: list[str | SpecialToken] = []
    position = 0
    for start, token in matches:
        before = text[position:start]
        if token.lstrip:
            before = before.rstrip(white_space)
        if before:
            parts.append(before)
        parts.append(token)
        position = max(position, start + len(token.text))
        if token.rstrip:
            rest = text[position:]
            position += len(rest) - len(rest.lstrip(white_space))
    if position < len(text):
        parts.append(text[position:])
    return parts


END_OF_GENERATION = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
    "<|eom_id|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "</s>",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
)
# fill-in-the-middle: padding, repository and file separator; nothing useful comes after them
_ENDING_FILL = (
    ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    ("<|file_sep|>",),
)
# what precedes the gap, what follows it, and the gap itself
_FILL_MARKS = (
    ("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"),
    ("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"),
    ("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"),
)
CONTROL_NAMES = (
    *END_OF_GENERATION,
    *(name for names in (*_ENDING_FILL, *_FILL_MARKS) for name in names),
)


def end_of_generation_ids(
    ids: Mapping[str, int],
    named: Iterable[int | None],
    fill_in_the_middle: Sequence[int | None] = (None, None, None),
) -> frozenset[int]:
    """Return every token that ends an answer, chosen as llama.cpp's vocabulary loader does.

    Args:
        ids: maps each token's text to its id.
        named: what the metadata names as the end of a text, a turn or a message.
        fill_in_the_middle: the metadata's ids of padding, repository name and file separator;
            those that are None are looked up by name.
    """
    texts = {text for text in END_OF_GENERATION if text in ids}
    found = {ids[text] for text in texts}
    for known, names in zip(fill_in_the_middle, _ENDING_FILL, strict=True):
        candidates = [known] if known is not None else [ids[name] for name in names if name in ids]
        found.update(candidates[:1])
    found.update(token for token in named if token is not None)
    # where these exist, <|end|> ends a message and not the answer
    if texts & {"<|call|>", "<|calls|>"} and texts & {"<|return|>", "<|flush|>"}:
        found.discard(ids.get("<|end|>", -1))
    if "<|tool_response>" in texts:
        found.discard(ids.get("</s>", -1))
    return frozenset(found)


class FillMarks(NamedTuple):
    """The tokens of a prompt whose gap a model fills: before each part, and where it answers."""

    prefix: int
    suffix: int
    middle: int


def find_fill_marks(
    ids: Mapping[str, int], named: Sequence[int | None] = (None, None, None)
) -> FillMarks | None:
    """Return a vocabulary's marks of a gap, or None if it lacks one.

    Args:
        ids: maps each token's text to its id.
        named: the metadata's ids of the marks; those that are None are looked up by name.
    """
    marks = []
    for known, names in zip(named, _FILL_MARKS, strict=True):
        marks += [known] if known is not None else [ids[name] for name in names if name in ids][:1]
    return FillMarks(*marks) if len(marks) == len(_FILL_MARKS) else None
